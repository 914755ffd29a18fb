import type { Job, Status } from '../server/appliance/contract.ts';
import type { ServerState, UpdateState } from './contract.ts';
import { strings } from './strings.ts';

interface NotifierParts {
  /** Shows it; `onClick` when the person follows it. */
  readonly show: (notice: { title: string; body: string }, onClick: () => void) => void;
  readonly isWanted: () => boolean;
  readonly open: (page?: string) => void;
}

const LOUD = new Set<Status['line']>(['needs-you', 'failed', 'unreachable']);

/** Tells the person what needs them: each thing once, until it was over. */
export class Notifier {
  readonly #parts: NotifierParts;
  readonly #told = new Set<string>();

  constructor(parts: NotifierParts) {
    this.#parts = parts;
  }

  status({ line, reasons }: Status): void {
    const [first] = reasons;
    const isNews = this.#note('status', LOUD.has(line) ? `${line} ${first?.kind ?? ''}` : undefined);
    if (!isNews || (line !== 'needs-you' && line !== 'failed' && line !== 'unreachable')) return;
    const body = [first?.text, first?.nextStep].filter((each) => each !== undefined).join(' ');
    this.say({ title: strings.notices[line], body }, first?.page);
  }

  server(state: ServerState): void {
    // Only a server that runs again is over its failure: a new try is not.
    if (state.kind !== 'failed' && state.kind !== 'running') return;
    if (this.#note('server', state.kind === 'failed' ? state.message : undefined)) {
      this.say(strings.notices.serverFailed);
    }
  }

  job({ id, kind, state, error, title }: Job): void {
    // What the person waits for in the window they see there; a backup is made while nobody looks.
    if (kind !== 'backup' || state !== 'failed' || !this.#note(`job ${id}`, state)) return;
    this.say({ title: strings.notices.jobFailed, body: `${title}: ${error?.error ?? ''}` }, 'backups');
  }

  update(state: UpdateState): void {
    if (state.kind === 'ready' && this.#note('update', state.version)) {
      this.say(strings.notices.updateReady(state.version), 'about');
    }
  }

  /** Tells it, if the person wants to be told things. */
  say(notice: { title: string; body: string }, page?: string): void {
    if (this.#parts.isWanted()) this.#parts.show(notice, () => this.#parts.open(page));
  }

  /** Whether `what` (undefined: all is well) is news about `topic`. */
  #note(topic: string, what: string | undefined): boolean {
    const key = what === undefined ? undefined : `${topic}: ${what}`;
    if (key !== undefined && this.#told.has(key)) return false;
    for (const each of this.#told) if (each.startsWith(`${topic}: `)) this.#told.delete(each);
    if (key !== undefined) this.#told.add(key);
    return key !== undefined;
  }
}
