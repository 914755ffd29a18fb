const DEADLINE_MS = 30_000;

/** What somebody looks for; anything that is not there yet is looked for again when there is news. */
export type Look<Found> = () => Promise<Found | undefined | null | false> | Found | undefined | null | false;

/**
 * Waits until `look` gives something. It is asked at once, and whenever `listen` tells of news; what that returns ends the
 * listening. @throws Error with `complaint` where it never does
 */
export async function waitFor<Found>(
  complaint: string,
  listen: (onNews: () => void) => () => void,
  look: Look<Found>,
): Promise<Found> {
  const { promise, resolve, reject } = Promise.withResolvers<Found>();
  let looking = false;
  let again = false;
  const tryIt = async (): Promise<void> => {
    again = true;
    if (looking) return;
    looking = true;
    try {
      while (again) {
        again = false;
        const found = await look();
        if (found !== undefined && found !== null && found !== false) resolve(found);
      }
    } catch (error) {
      reject(error instanceof Error ? error : new Error(String(error)));
    } finally {
      looking = false;
    }
  };
  // Others who listen to the same event have to be done with it.
  const onNews = (): void => void setImmediate(() => void tryIt());
  const deaf = listen(onNews);
  const deadline = setTimeout(() => reject(new Error(complaint)), DEADLINE_MS);
  onNews();
  try {
    return await promise;
  } finally {
    clearTimeout(deadline);
    deaf();
  }
}
