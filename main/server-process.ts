import type { ForkOptions, UtilityProcess } from 'electron';
import type { Clock, Timer } from './clock.ts';
import type { ServerState } from './contract.ts';
import { isObject } from './files.ts';
import { strings } from './strings.ts';

type Child = Pick<UtilityProcess, 'pid' | 'postMessage' | 'kill' | 'on' | 'once' | 'stdout' | 'stderr'>;

interface ServerProcessParts {
  readonly clock: Clock;
  readonly fork: (program: string, args: string[], options: ForkOptions) => Child;
  readonly program: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly dataDir: string | undefined;
  /** What the server accepts as coming from the shell. Handed over in a message: arguments are for everybody to read. */
  readonly token: string;
  readonly onChange: (state: ServerState) => void;
  readonly secrets: SecretKeeper;
  readonly onError: (error: unknown) => void;
  /** Ends a process that does not end when it is asked to. */
  readonly killHard: (pid: number) => void;
}

/** Where the server answers, once it does. */
export interface Listening {
  /** Of the control API; without a slash at its end. */
  readonly url: string;
  readonly dataDir: string;
  /** The database's file. */
  readonly database: string;
}

/** Keeps what nobody else may read, by names. */
export interface SecretKeeper {
  /** All that is kept. */
  list(): Promise<Record<string, string>>;
  /** Undefined forgets it. */
  put(name: string, value: string | undefined): Promise<void>;
}

/** How long (ms) a start may take until the control API answers. */
const READY_MS = 20_000;
/** How long (ms) the system may take to hand out the secrets: it may ask for a password first, and nobody be there. */
const SECRETS_MS = 60_000;
/** How long (ms) a stop may take; a little more than the server allows itself. */
const STOP_MS = 35_000;
const KILL_MS = 5_000;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;
/** So many ends without a good run between them, and it is given up. */
const MAX_CRASHES = 5;
/** A run of this length (ms) is a good one. */
const GOOD_RUN_MS = 5 * 60_000;
const LOG_LINES = 40;
const LONGEST_LINE = 400;

/** The server in a process of its own: started, watched, started again after a crash, stopped. */
export class ServerProcess {
  readonly #parts: ServerProcessParts;
  #state: ServerState = { kind: 'stopped' };
  #listening: Listening | undefined;
  #data: Pick<Listening, 'dataDir' | 'database'> | undefined;
  #child: Child | undefined;
  #timer: Timer | undefined;
  #crashes = 0;
  #startedAt = 0;
  /** What the server said of its own failure, in words for the person. */
  #lastWords: { message: string; isFinal: boolean } | undefined;
  #log: string[] = [];
  #stopping: { promise: Promise<void>; resolve: () => void } | undefined;

  constructor(parts: ServerProcessParts) {
    this.#parts = parts;
  }

  get state(): ServerState {
    return this.#state;
  }

  /** Where it answers; undefined while it does not. */
  get listening(): Listening | undefined {
    return this.#listening;
  }

  /** Where its data are, once it has said so; also when it runs no more. */
  get data(): Pick<Listening, 'dataDir' | 'database'> | undefined {
    return this.#data;
  }

  /** Starts it unless it runs or is about to. A server that was given up gets a new chance. */
  start(): void {
    if (this.#child !== undefined || this.#stopping !== undefined) return;
    this.#timer?.cancel();
    this.#crashes = 0;
    this.#launch();
  }

  /** Asks it to end, and resolves when it has. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    const child = this.#child;
    if (child === undefined) {
      this.#become({ kind: 'stopped' });
      return;
    }
    if (this.#stopping === undefined) {
      this.#stopping = Promise.withResolvers<void>();
      child.postMessage({ type: 'stop' });
      this.#timer = this.#parts.clock.after(STOP_MS, () => this.#kill(child));
    }
    await this.#stopping.promise;
  }

  /** Does not start it, and says why; `start` does all the same. For a server that does not run. */
  refuse(message: string): void {
    if (this.#child !== undefined) return;
    this.#timer?.cancel();
    this.#log = [];
    this.#giveUp(message);
  }

  /** A message for the server, where it runs. */
  tell(message: { readonly type: 'sleep' | 'wake' }): void {
    if (this.#listening !== undefined) this.#child?.postMessage(message);
  }

  #launch(): void {
    const { clock, fork, program, env } = this.#parts;
    this.#log = [];
    this.#lastWords = undefined;
    this.#startedAt = clock.now();
    this.#become({ kind: 'starting' });
    let child: Child;
    try {
      child = fork(program, [], { env: definedOf(env), stdio: 'pipe', serviceName: 'Hearth server' });
    } catch (error) {
      this.#giveUp(strings.server.missing(error instanceof Error ? error.message : String(error)));
      return;
    }
    this.#child = child;
    child.on('message', (message: unknown) => this.#hear(child, message));
    child.once('exit', (code: number) => this.#ended(child, code));
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (piece: Buffer | string) => this.#note(String(piece)));
    }
    void this.#begin(child);
  }

  async #begin(child: Child): Promise<void> {
    const { clock, dataDir, token } = this.#parts;
    const kept = await this.#listSecrets();
    // It may have ended meanwhile, or been asked to.
    if (child !== this.#child || this.#stopping !== undefined) return;
    child.postMessage({ type: 'start', token, dataDir, secrets: kept });
    this.#timer = clock.after(READY_MS, () => {
      this.#lastWords = { message: strings.server.notReady(READY_MS / 1000), isFinal: false };
      this.#kill(child);
    });
  }

  /** Without them a server runs as well: it asks anew for what it needs. */
  async #listSecrets(): Promise<Record<string, string>> {
    const { clock, secrets, onError } = this.#parts;
    const { promise, resolve } = Promise.withResolvers<Record<string, string>>();
    const timer = clock.after(SECRETS_MS, () => {
      onError(new Error('the key store of the system does not answer'));
      resolve({});
    });
    secrets.list().then(resolve, (error: unknown) => {
      onError(error);
      resolve({});
    });
    const found = await promise;
    timer.cancel();
    return found;
  }

  #hear(child: Child, message: unknown): void {
    if (child !== this.#child || !isObject(message)) return;
    if (message['type'] === 'listening') {
      const { url, dataDir, database } = message;
      if (typeof url !== 'string' || typeof dataDir !== 'string' || typeof database !== 'string') return;
      if (this.#stopping !== undefined) return;
      this.#timer?.cancel();
      this.#listening = { url, dataDir, database };
      this.#data = { dataDir, database };
      this.#become({ kind: 'running', pid: child.pid });
    } else if (message['type'] === 'failed' && typeof message['message'] === 'string') {
      this.#lastWords = { message: message['message'], isFinal: message['isFinal'] === true };
    } else if (message['type'] === 'secret') {
      this.#keepSecret(message);
    }
  }

  #keepSecret({ name, value }: Record<string, unknown>): void {
    if (typeof name !== 'string' || (value !== undefined && typeof value !== 'string')) return;
    this.#parts.secrets.put(name, value).catch(this.#parts.onError);
  }

  #ended(child: Child, code: number): void {
    if (child !== this.#child) return;
    const { clock } = this.#parts;
    this.#timer?.cancel();
    this.#child = undefined;
    this.#listening = undefined;
    if (this.#stopping !== undefined) {
      const { resolve } = this.#stopping;
      this.#stopping = undefined;
      this.#become({ kind: 'stopped' });
      resolve();
      return;
    }
    if (clock.now() - this.#startedAt >= GOOD_RUN_MS) this.#crashes = 0;
    this.#crashes++;
    const message = this.#lastWords?.message ?? strings.server.ended(code);
    if (this.#lastWords?.isFinal === true) {
      this.#giveUp(message);
    } else if (this.#crashes >= MAX_CRASHES) {
      this.#giveUp(`${message} ${strings.server.gaveUp(this.#crashes)}`);
    } else {
      const wait = Math.min(FIRST_WAIT_MS * 2 ** (this.#crashes - 1), LONGEST_WAIT_MS);
      this.#timer = clock.after(wait, () => this.#launch());
      this.#become({ kind: 'restarting', message, retryAt: clock.now() + wait });
    }
  }

  #giveUp(message: string): void {
    this.#become({ kind: 'failed', message, log: this.#log });
  }

  #kill(child: Child): void {
    child.kill();
    const { pid } = child;
    if (pid === undefined) return;
    this.#timer = this.#parts.clock.after(KILL_MS, () => this.#parts.killHard(pid));
  }

  #note(text: string): void {
    const lines = text.split('\n').filter((line) => line.trim() !== '');
    this.#log = [...this.#log, ...lines.map((line) => line.slice(0, LONGEST_LINE))].slice(-LOG_LINES);
  }

  #become(state: ServerState): void {
    this.#state = state;
    this.#parts.onChange(state);
  }
}

function definedOf(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
