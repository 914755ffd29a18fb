const LOOK_MS = 1_000;

/**
 * Resolves once the process that has started this one is gone, which the system then has adopted. Never where it stays, and
 * never on Windows, which tells nobody.
 */
export async function parentGone(): Promise<void> {
  const parent = process.ppid;
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      if (process.ppid === parent) return;
      clearInterval(timer);
      resolve();
    }, LOOK_MS);
    timer.unref();
  });
}
