/** A server name as it was probably meant: people paste addresses. Whether it is one, the server says. */
export function tidyServerName(typed: string): string {
  return typed
    .trim()
    .replace(/^(https?:)?\/\//i, '')
    .replace(/^@[^:]*:/, '')
    .replace(/[/?#].*$/, '')
    .replace(/\.$/, '')
    .toLowerCase();
}

/** Whether this can be the address of a server for clients: a scheme and a host, and no more than that. */
export function checkPublicUrl(typed: string): boolean {
  const url = URL.parse(typed.trim());
  if (url === null || !['https:', 'http:'].includes(url.protocol)) return false;
  return url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '' && url.password === '';
}
