import { isJsonObject } from '../matrix/json.ts';

/** What the shell is told. `isFinal`: a further start would end the same way. */
export type ToShell =
  | { type: 'listening'; url: string; dataDir: string; database: string }
  | { type: 'failed'; message: string; isFinal: boolean }
  /** To be kept where nobody else can read it, and given back at the next start; without a value, to be forgotten. */
  | { type: 'secret'; name: string; value: string | undefined };

/** What the shell gives to a server that it starts. */
export interface FromShell {
  /** Of the shell's own calls. */
  readonly token: string;
  /** Where the data are, if the shell knows better than the server. */
  readonly dataDir: string | undefined;
  /** What it was told to keep, by names. */
  readonly secrets: ReadonlyMap<string, string>;
}

/** The line to the shell that started this process. */
export interface ShellPort {
  /** Waits for the shell's first message. */
  begin(): Promise<FromShell>;
  /** Waits until the shell asks for an end, or has gone. */
  asked(): Promise<void>;
  onSleep(listener: () => void): void;
  tell(message: ToShell): void;
  /** Lets the process end. */
  close(): void;
}

/** Electron's end of the line in a utility process, as far as it is used. */
interface ParentPort {
  on(event: 'message', listener: (event: { readonly data: unknown }) => void): unknown;
  postMessage(message: unknown): void;
}

/** How long (ms) a message may take to be out of this process. */
const LAST_WORDS_MS = 200;

/** Opens the line: Electron's to a utility process, or Node's to a child. Throws where this process has neither. */
export function openShellPort(): ShellPort {
  const begun = Promise.withResolvers<FromShell>();
  const asked = Promise.withResolvers<void>();
  let onSleep: (() => void) | undefined;
  const line = openLine(
    (message) => {
      if (!isJsonObject(message)) return;
      const { type, token, dataDir, secrets } = message;
      if (type === 'start' && typeof token === 'string') {
        const kept = Object.entries(isJsonObject(secrets) ? secrets : {});
        begun.resolve({
          token,
          dataDir: typeof dataDir === 'string' ? dataDir : undefined,
          secrets: new Map(kept.filter((entry): entry is [string, string] => typeof entry[1] === 'string')),
        });
      } else if (type === 'sleep') {
        onSleep?.();
      } else if (type === 'stop') {
        begun.reject(new Error('ended before it began'));
        asked.resolve();
      }
    },
    () => asked.resolve(),
  );
  return {
    begin: () => begun.promise,
    asked: () => asked.promise,
    onSleep: (listener) => {
      onSleep = listener;
    },
    tell: (message) => line.send(message),
    close: () => line.close(),
  };
}

interface Line {
  send(message: object): void;
  close(): void;
}

function openLine(hear: (message: unknown) => void, gone: () => void): Line {
  const parent = 'parentPort' in process ? (process.parentPort as ParentPort | null) : null;
  if (parent !== null) {
    parent.on('message', ({ data }) => hear(data));
    // The process ends with the shell that owns it, and by itself it does not: its port stays open. What was said last is
    // on its way still.
    return {
      send: (message) => parent.postMessage(message),
      close: () => setTimeout(() => process.exit(), LAST_WORDS_MS),
    };
  }
  if (process.send === undefined) throw new Error('this program is started by the desktop shell');
  process.on('message', hear);
  process.on('disconnect', gone);
  return {
    send: (message) => {
      if (process.connected) process.send?.(message);
    },
    close: () => {
      if (process.connected) process.disconnect();
    },
  };
}
