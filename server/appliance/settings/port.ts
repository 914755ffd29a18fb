import type { JsonValue } from '../../matrix/json.ts';
import type { RegistrationMode } from '../contract.ts';

/** homeserver.yaml, as far as the interface reads and changes it. */
export interface ConfigFile {
  readonly path: string;
  /** All options there are, those in groups by their whole path. */
  readonly options: readonly string[];
  /** What the file says now. Never throws: what is wrong is told. */
  read(): ConfigReading;
  /** What is known of an option. Throws TypeError where there is none of that path. */
  describe(option: string): OptionFacts;
  /**
   * Changes options by their paths (undefined takes one out), keeping comments, and only if all of the file can be used
   * afterwards. Throws a MatrixError with the `field` that is at fault.
   */
  edit(changes: Readonly<Record<string, JsonValue | undefined>>): void;
}

/** Who may make an account at the homeserver that runs. */
export interface RegistrationPort {
  readonly mode: RegistrationMode;
  /** At once, and until the next start. Changes nothing where that would let more people in. */
  tighten(mode: RegistrationMode): void;
}

export interface ConfigReading {
  /** As it counts: with defaults, durations in ms, sizes in bytes. */
  value(option: string): unknown;
  /** As it is written; undefined where it is not. */
  written(option: string): unknown;
  readonly problems: readonly {
    readonly option: string;
    readonly message: string;
    /** With file and line. */
    readonly sentence: string;
  }[];
}

export interface OptionFacts {
  readonly fallback: unknown;
  readonly isSecret: boolean;
  /** Takes effect without a restart. */
  readonly reloads: boolean;
  /** Written as null it says something else than left out: no limit. */
  readonly takesNull: boolean;
  /** Why it has no effect, where it has none. */
  readonly note: string | undefined;
  /** What stands for a value that can be chosen: `true` is the truth value, not the word. */
  readonly choices: readonly (string | boolean)[] | undefined;
}
