import { renameSync } from 'node:fs';
import { join } from 'node:path';
import type { ShellSettings } from './contract.ts';
import { isObject, readObject, writeWhole } from './files.ts';

export interface Bounds {
  x?: number;
  y?: number;
  width: number;
  height: number;
}

interface Kept {
  settings: ShellSettings;
  bounds: Bounds | undefined;
  /** What the person was told once and need not be told again. */
  told: readonly string[];
}

interface SettingsParts {
  readonly directory: string;
  readonly onError: (error: unknown) => void;
}

const DEFAULTS: ShellSettings = {
  startAtLogin: false,
  keepAwake: false,
  automaticUpdates: true,
  notifications: true,
};
const SMALLEST = 200;
const LARGEST = 20_000;

/**
 * What the shell remembers, in `shell.json`; every change is on the disk when the call returns. Where that cannot be (a full
 * disk), a setting that was changed is refused with the file system's error; the rest is remembered until the program ends.
 */
export class SettingsFile {
  readonly #path: string;
  readonly #onError: (error: unknown) => void;
  #kept: Kept;

  constructor({ directory, onError }: SettingsParts) {
    this.#path = join(directory, 'shell.json');
    this.#onError = onError;
    const content = readObject(this.#path);
    this.#kept = {
      settings: { ...DEFAULTS, ...readSettings(content?.['settings']) },
      bounds: readBounds(content?.['bounds']),
      told: Array.isArray(content?.['told']) ? content['told'].filter((each) => typeof each === 'string') : [],
    };
  }

  get settings(): ShellSettings {
    return this.#kept.settings;
  }

  get bounds(): Bounds | undefined {
    return this.#kept.bounds;
  }

  change(change: Partial<ShellSettings>): void {
    const before = this.#kept;
    try {
      this.#keep({ ...before, settings: { ...before.settings, ...change } });
    } catch (error) {
      this.#kept = before;
      throw error;
    }
  }

  keepBounds(bounds: Bounds): void {
    this.#tryToKeep({ ...this.#kept, bounds });
  }

  /** True the first time it is asked about `what`. */
  tellOnce(what: string): boolean {
    if (this.#kept.told.includes(what)) return false;
    this.#tryToKeep({ ...this.#kept, told: [...this.#kept.told, what] });
    return true;
  }

  #tryToKeep(kept: Kept): void {
    try {
      this.#keep(kept);
    } catch (error) {
      this.#onError(error);
    }
  }

  #keep(kept: Kept): void {
    this.#kept = kept;
    try {
      writeWhole(this.#path, `${JSON.stringify(kept, undefined, 2)}\n`);
    } catch (error) {
      // A directory in its place is set aside; anything else (a full disk) is for the caller to tell.
      if (!(error instanceof Error && 'code' in error && error.code === 'EISDIR')) throw error;
      renameSync(this.#path, `${this.#path}.old`);
      writeWhole(this.#path, `${JSON.stringify(kept, undefined, 2)}\n`);
    }
  }
}

/** The settings named in `value`, those of the right type; everything else is left out. */
export function readSettings(value: unknown): Partial<ShellSettings> {
  if (!isObject(value)) return {};
  const found: Partial<ShellSettings> = {};
  for (const name of Object.keys(DEFAULTS) as (keyof ShellSettings)[]) {
    const setting = value[name];
    if (typeof setting === 'boolean') found[name] = setting;
  }
  return found;
}

function readBounds(value: unknown): Bounds | undefined {
  if (!isObject(value)) return undefined;
  const { x, y, width, height } = value;
  if (!isLength(width) || !isLength(height)) return undefined;
  return typeof x === 'number' && typeof y === 'number' ? { x, y, width, height } : { width, height };
}

function isLength(value: unknown): value is number {
  return typeof value === 'number' && value >= SMALLEST && value <= LARGEST;
}
