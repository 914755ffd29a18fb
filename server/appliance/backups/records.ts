import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Static } from 'typebox';
import { Compile } from 'typebox/schema';
import { Type } from '../../http/type.ts';

export const scheduleFields = {
  every: Type.Union([Type.Literal('never'), Type.Literal('day'), Type.Literal('week')]),
  atHour: Type.Integer({ minimum: 0, maximum: 23 }),
  keep: Type.Integer({ minimum: 1, maximum: 1_000 }),
  media: Type.Boolean(),
  directory: Type.Optional(Type.String({ minLength: 1, maxLength: 4_096 })),
  passphraseHint: Type.Optional(Type.String({ maxLength: 500 })),
};

const recordsSchema = Type.Object({
  schedule: Type.Object(scheduleFields),
  /** When the next one of the schedule is due, ms since the epoch. */
  dueAt: Type.Optional(Type.Integer()),
  /** The last one of the schedule that failed. */
  failure: Type.Optional(Type.Object({ at: Type.Integer(), error: Type.String() })),
  /** Name → size of files that were read back whole. */
  verified: Type.Unsafe<Record<string, number>>({ type: 'object', additionalProperties: { type: 'integer' } }),
});
const check = Compile(recordsSchema);

export type Records = Static<typeof recordsSchema>;

const NOTHING: Records = { schedule: { every: 'never', atHour: 3, keep: 7, media: true }, verified: {} };

/** What is remembered of backups: a small file in the data directory. */
export class RecordFile {
  readonly #path: string;
  #records: Records | undefined;

  constructor(dataDir: string) {
    this.#path = join(dataDir, 'backups.json');
  }

  get(): Records {
    this.#records ??= read(this.#path);
    return this.#records;
  }

  put(records: Records): void {
    writeWhole(this.#path, `${JSON.stringify(records, undefined, 2)}\n`);
    this.#records = records;
  }
}

function read(path: string): Records {
  const text = readIfThere(path);
  if (text === undefined) return NOTHING;
  try {
    const content: unknown = JSON.parse(text);
    if (check.Check(content)) return content;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  // Nothing in it is needed to read a backup; a plan is soon made anew.
  return NOTHING;
}

/** Where secrets are kept: by the shell, where the system has a place for them, or in files. */
export interface SecretStore {
  find(name: string): string | undefined;
  /** Undefined forgets it. */
  put(name: string, value: string | undefined): void;
}

/** Secrets in files of the data directory that only their owner may read. */
export function fileSecrets(dataDir: string): SecretStore {
  const pathOf = (name: string): string => join(dataDir, `.${name}`);
  return {
    find: (name) => readIfThere(pathOf(name))?.replace(/\n$/, ''),
    put: (name, value) => {
      if (value === undefined) rmSync(pathOf(name), { force: true });
      else writeWhole(pathOf(name), `${value}\n`);
    },
  };
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function writeWhole(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  rmSync(`${path}.part`, { force: true });
  writeFileSync(`${path}.part`, text, { mode: 0o600, flag: 'wx', flush: true });
  renameSync(`${path}.part`, path);
}
