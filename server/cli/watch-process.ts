import { closeSync, openSync } from 'node:fs';
import type { Log } from '../util/file-log.ts';
import type { Terminal } from './command.ts';

/** How long a stop may take before the process is ended anyway. */
const STOP_DEADLINE_MS = 30_000;
/** How long the process may go on after everything has stopped, should something have been left open. */
const LINGER_MS = 1_000;

/** A further signal within this time is taken for the same one. */
const SAME_SIGNAL_MS = 1_000;

/** What comes to the process from outside. */
export interface ProcessWatch {
  /** What SIGHUP does. Before this is called, nothing. */
  onReload(reload: () => void): void;
  /** Waits until SIGTERM or SIGINT asks for an end, be it before this call. */
  asked(): Promise<void>;
  /** Stops the server, and sees to it that the process ends. */
  finish(server: { stop(): Promise<void> }): Promise<void>;
}

/**
 * Listens to the signals of the process from now on. A later signal to stop, or a stop that takes too long, ends the
 * process with exit code 1; so does an error that nobody has caught. `crash` is called before.
 */
export function watchProcess({ logger, flush }: Log, terminal: Terminal, crash: () => void): ProcessWatch {
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  let askedAt: number | undefined;
  let reload: (() => void) | undefined;
  const end = (data: Record<string, unknown>, sentence: string): never => {
    logger.error(data, sentence);
    flush();
    crash();
    process.exit(1);
  };
  const ask = (signal: NodeJS.Signals): void => {
    askedAt ??= performance.now();
    // What starts the server often passes on a signal that the terminal has sent to both of them.
    if (performance.now() - askedAt > SAME_SIGNAL_MS) end({ signal }, 'ended in the middle of stopping');
    resolve();
  };
  const fail = (error: unknown): void => {
    // Whatever state the program is in now, it is none to go on from.
    terminal.complain(`The server has failed: ${error instanceof Error ? error.message : String(error)}`);
    end({ error }, 'uncaught error');
  };
  process.on('SIGTERM', ask);
  process.on('SIGINT', ask);
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);
  const hadTerminal = process.stdin.isTTY || process.stdout.isTTY || process.platform === 'win32';
  process.on('SIGHUP', (signal) => {
    if (hadTerminal && hasLostTerminal()) ask(signal);
    else reload?.();
  });

  return {
    onReload: (action) => {
      reload = action;
    },
    asked: () => asked,
    finish: async (server) => {
      logger.info({}, 'stopping');
      setTimeout(() => end({ waitedMs: STOP_DEADLINE_MS }, 'could not stop in time'), STOP_DEADLINE_MS).unref();
      await server.stop();
      logger.info({}, 'stopped');
      setTimeout(() => process.exit(), LINGER_MS).unref();
    },
  };
}

/** Whether the window was closed that the program was started in; a signal from elsewhere leaves it there. */
function hasLostTerminal(): boolean {
  // There it says nothing else, and the process is about to be ended.
  if (process.platform === 'win32') return true;
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return false;
  } catch {
    return true;
  }
}
