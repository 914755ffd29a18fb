import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { isJsonObject, type JsonValue } from '../../matrix/json.ts';
import type { Reach, SetupDraft } from '../contract.ts';

/** What is kept of a setup that is not over, and whether it is. */
export interface SetupNotes {
  readonly draft: SetupDraft | undefined;
  readonly isDone: boolean;
}

const REACHES: ReadonlySet<unknown> = new Set<Reach>(['home', 'domain', 'proxy']);

/** A file with the answers so far, so that setting up goes on where it was left. */
export class SetupNotebook {
  readonly #file: string;
  #notes: SetupNotes;

  constructor(file: string) {
    this.#file = file;
    this.#notes = readNotes(file);
  }

  get notes(): SetupNotes {
    return this.#notes;
  }

  /** Written whole or not at all. Throws the file system's error. */
  put(notes: SetupNotes): void {
    const temporary = `${this.#file}.new`;
    const handle = openSync(temporary, 'w', 0o600);
    try {
      writeFileSync(handle, `${JSON.stringify(notes, undefined, 2)}\n`);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(temporary, this.#file);
    this.#notes = notes;
  }
}

function readNotes(file: string): SetupNotes {
  const nothing: SetupNotes = { draft: undefined, isDone: false };
  try {
    const content: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (!isJsonObject(content)) return nothing;
    return { draft: readDraft(content['draft']), isDone: content['isDone'] === true };
  } catch (error) {
    // Without it, or with one that somebody has spoilt, the questions are asked from the start.
    const isLacking = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (isLacking || error instanceof SyntaxError) return nothing;
    throw error;
  }
}

function readDraft(value: JsonValue | undefined): SetupDraft | undefined {
  if (value === undefined || !isJsonObject(value) || !REACHES.has(value['reach'])) return undefined;
  const { reach, serverName } = value;
  const text = (name: 'publicUrl' | 'certificatePath' | 'privateKeyPath'): object =>
    typeof value[name] === 'string' ? { [name]: value[name] } : {};
  return {
    reach: reach as Reach,
    serverName: typeof serverName === 'string' ? serverName : '',
    ...text('publicUrl'),
    ...text('certificatePath'),
    ...text('privateKeyPath'),
  };
}
