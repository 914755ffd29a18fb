import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino, type DestinationStream, type Logger as PinoLogger, stdSerializers } from 'pino';
import type { LogData, Logger } from './log.ts';

const LEVELS = { debug: 20, info: 30, warn: 40, error: 50 } as const;

export type LogLevelName = keyof typeof LEVELS;

export interface LogTarget {
  /** The least important lines that are kept. */
  readonly level: LogLevelName;
  /** Absolute path of the file to append to (made, with its directory, if lacking); undefined for standard output. */
  readonly file: string | undefined;
  /** Size in bytes at which a file is put aside as `<file>.1` and a new one begun; 0: never. */
  readonly maxBytes: number;
  /** How many files that were put aside are kept. */
  readonly keep: number;
}

/** A log with a line of JSON for each entry, and what its owner can do with it. */
export interface Log {
  readonly logger: Logger;
  /** For all loggers made from this one, too. */
  readonly setLevel: (level: LogLevelName) => void;
  /** Begins to write to the file of that name anew: for when something else has renamed it. */
  readonly reopen: () => void;
  /** Waits until everything is written, blocking. For the end of the process. */
  readonly flush: () => void;
  /** Writes what is left and closes the file. */
  readonly close: () => Promise<void>;
}

/** Opens a log. Throws the file system's error if the file cannot be opened. */
export async function openLog(target: LogTarget): Promise<Log> {
  const { file } = target;
  if (file !== undefined) {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    // Tried here: a stream whose file could not be opened throws once more when the process ends.
    closeSync(openSync(file, 'a', 0o600));
  }
  const destination = pino.destination({ dest: file ?? 1, append: true, mode: 0o600, sync: false });
  // Rejects with an "error" that comes before.
  await once(destination, 'ready');
  let reopened: Promise<void> = Promise.resolve();
  const reopen = (): Promise<void> => {
    reopened = opened(destination);
    destination.reopen();
    return reopened;
  };
  if (file !== undefined && target.maxBytes > 0) rotate(destination, file, target, reopen);
  complain(destination, file ?? 'standard output');

  const state = { threshold: LEVELS[target.level] as number };
  const root = pino(
    {
      level: 'debug',
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: stdSerializers.err, err: stdSerializers.err, cause: stdSerializers.err },
      // They have no business in a log; this is for the day when one slips in.
      redact: ['password', 'new_password', 'access_token', 'accessToken', 'refresh_token', 'authorization', 'secret'],
    },
    destination as DestinationStream,
  );
  return {
    logger: wrap(root, state),
    setLevel: (level) => {
      state.threshold = LEVELS[level];
    },
    reopen: () => {
      if (file !== undefined) void reopen();
    },
    flush: () => flushNow(destination),
    close: async () => {
      // The stream never ends if it is told to while it is being opened anew.
      await reopened;
      await Promise.race([end(destination, file), sleep(CLOSE_DEADLINE_MS, undefined, { ref: false })]);
    },
  };
}

/** How long writing the last lines may take, should the disk refuse them. */
const CLOSE_DEADLINE_MS = 2_000;

// Resolves in any case: an error is reported where all of them are.
async function opened(destination: Destination): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => resolve();
  destination.once('ready', done);
  destination.once('error', done);
  await promise;
  // One of them is left, and files are put aside for years.
  destination.removeListener('ready', done);
  destination.removeListener('error', done);
}

async function end(destination: Destination, file: string | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  // Standard output belongs to the process and stays open.
  if (file === undefined) destination.flush(() => resolve());
  else {
    destination.once('close', resolve);
    destination.end();
  }
  await promise;
}

type Destination = ReturnType<typeof pino.destination>;

// The level is looked up on every line: pino's children keep the one they were made with.
function wrap(log: PinoLogger, state: { readonly threshold: number }): Logger {
  const at =
    (level: LogLevelName) =>
    (data: LogData, sentence: string): void => {
      if (LEVELS[level] >= state.threshold) log[level](data, sentence);
    };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (data) => wrap(log.child(data), state),
  };
}

function rotate(
  destination: Destination,
  file: string,
  { maxBytes, keep }: LogTarget,
  reopen: () => Promise<void>,
): void {
  let size = statSync(file).size;
  let isReopening = false;
  destination.on('write', (bytes: number) => {
    size += bytes;
    // Until it is opened anew, what is written goes to the file that was put aside.
    if (size < maxBytes || isReopening) return;
    // Whether or not it works, the next try is a whole file away.
    size = 0;
    try {
      shift(file, keep);
      isReopening = true;
      void reopen().then(() => {
        isReopening = false;
        size = 0;
      });
    } catch (error) {
      report(`the log ${file} could not be put aside`, error);
    }
  });
}

function shift(file: string, keep: number): void {
  if (keep === 0) {
    rmSync(file, { force: true });
    return;
  }
  rmSync(`${file}.${keep}`, { force: true });
  for (let number = keep - 1; number >= 1; number--) renameIfThere(`${file}.${number}`, `${file}.${number + 1}`);
  renameIfThere(file, `${file}.1`);
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
}

// A full disk must not end the server, nor must a reader of its output who went away. It is said once, until a line
// gets through again.
function complain(destination: Destination, name: string): void {
  let broken = false;
  destination.on('write', () => {
    broken = false;
  });
  destination.on('error', (error: Error) => {
    if (broken || ('code' in error && error.code === 'EPIPE')) return;
    broken = true;
    report(`the log cannot be written to ${name}`, error);
  });
}

function flushNow(destination: Destination): void {
  try {
    destination.flushSync();
  } catch (error) {
    // It is being opened anew, or broken: there is nothing left to write to.
    report('the last lines of the log are lost', error);
  }
}

function report(sentence: string, error: unknown): void {
  process.stderr.write(`${sentence}: ${error instanceof Error ? error.message : String(error)}\n`);
}
