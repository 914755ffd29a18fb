/** The address of one thing on a page, such as `#/people/%40nora%3Aexample.com`. */
export function linkTo(page: string, ...parts: readonly string[]): string {
  return `#/${[page, ...parts.map((part) => encodeURIComponent(part))].join('/')}`;
}

/** What comes after the page's own word in the place, one by one: of `/people/%40nora%3Aexample.com` that is the user. */
export function partsAfter(location: string): string[] {
  return location.split('/').slice(2).filter(Boolean).map(decode);
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    // Somebody typed a percent sign by hand: then it is meant as it stands.
    return part;
  }
}
