import { type Random, randomString } from '../../util/random.ts';

/** What this process is working on. Its number alone does not tell: in a container every process has the same. */
const own = new Set<string>();

/** A name for files that are not finished. It tells later on whether anybody is still at work on them. */
export interface WorkName extends Disposable {
  readonly name: string;
}

export function nameWork(random: Random): WorkName {
  const name = `${process.pid}-${randomString(random, 8)}`;
  own.add(name);
  return { name, [Symbol.dispose]: () => void own.delete(name) };
}

/** Whether the work of this name ended with its process. What is no such name was left by nobody who is known. */
export function isLeftOver(name: string): boolean {
  const pid = Number(/^(\d+)-/.exec(name)?.[1]);
  if (!Number.isSafeInteger(pid) || pid <= 0) return true;
  if (pid === process.pid) return !own.has(name);
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH';
  }
}
