import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { TestContext } from 'node:test';

const DEADLINE_MS = 30_000;

/** A program that runs, with what it has written so far. */
export interface Running {
  readonly child: ChildProcess;
  readonly output: { out: string; err: string };
  /** Waits until standard output and error together match. Throws if the program ends before. */
  until(pattern: RegExp): Promise<RegExpMatchArray>;
  /** Waits for the end. */
  ended(): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }>;
}

/** Starts a script of the project. What still runs when the test ends is ended. */
export function launch(
  t: TestContext,
  script: URL,
  args: readonly string[],
  { input, env }: { input?: string; env?: Readonly<Record<string, string>> } = {},
): Running {
  const child = spawn(process.execPath, [fileURLToPath(script), ...args], { env: { ...process.env, ...env } });
  t.after(() => child.kill('SIGKILL'));
  const output = { out: '', err: '' };
  const changed = new EventTarget();
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output.out += text;
    changed.dispatchEvent(new Event('change'));
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output.err += text;
    changed.dispatchEvent(new Event('change'));
  });
  // A program that doesn't read its input has closed it before the end.
  child.stdin.on('error', () => child.stdin.destroy());
  child.stdin.end(input);
  const closed = once(child, 'close', { signal: AbortSignal.timeout(DEADLINE_MS) });
  return {
    child,
    output,
    until: async (pattern) => {
      const { promise, resolve, reject } = Promise.withResolvers<RegExpMatchArray>();
      const look = (): void => {
        const match = (output.out + output.err).match(pattern);
        if (match !== null) resolve(match);
      };
      changed.addEventListener('change', look);
      look();
      closed.then(
        () => reject(new Error(`ended without ${String(pattern)}:\n${output.out}${output.err}`)),
        (error: unknown) => reject(error instanceof Error ? error : new Error(String(error))),
      );
      return await promise;
    },
    ended: async () => {
      await closed;
      return { code: child.exitCode, ...output };
    },
  };
}

/** Runs the command line to its end. */
export async function hearth(
  t: TestContext,
  args: readonly string[],
  options: { input?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }> {
  return await launch(t, new URL('../../server/cli.ts', import.meta.url), args, options).ended();
}
