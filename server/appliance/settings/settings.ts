import { MatrixError } from '../../matrix/errors.ts';
import type { JsonValue } from '../../matrix/json.ts';
import type { Changed, Registration, RegistrationMode, Setting, Settings, SettingValue } from '../contract.ts';
import { catalogue, type CatalogueEntry, GENERAL } from './catalogue.ts';
import { checkPort, portEntries } from './ports.ts';
import type { ConfigFile, ConfigReading, RegistrationPort } from './port.ts';
import { MODE_OPTIONS, readRegistration, registrationChanges } from './registration.ts';

interface SettingsNeeds {
  readonly file: ConfigFile;
  /** What can change while the server runs has changed. */
  readonly onReload: () => void;
  readonly onChanged: () => void;
  /** What the running homeserver was started with; undefined while none runs. */
  readonly inUse: () => { value(option: string): unknown } | undefined;
  /** Of the running homeserver; undefined while none runs. */
  readonly registration: () => RegistrationPort | undefined;
}

/** The ports stand where they are looked for, among what is general. */
function entriesOf(reading: ConfigReading): readonly CatalogueEntry[] {
  const others = catalogue.findIndex(({ group }) => group !== GENERAL);
  return catalogue.toSpliced(others, 0, ...portEntries(reading));
}

/** The configuration, as people look at it and change it. */
export class SettingsDesk {
  readonly #needs: SettingsNeeds;

  constructor(needs: SettingsNeeds) {
    this.#needs = needs;
  }

  list(): Settings {
    const { file } = this.#needs;
    const reading = file.read();
    return {
      file: file.path,
      settings: entriesOf(reading).map((entry) => describe(entry, file, reading)),
      problems: reading.problems.map(({ sentence }) => sentence),
      restartDue: reading.problems.length === 0 && this.#isRestartDue(reading),
    };
  }

  /** Whether something stands in the file that the homeserver has not been started with, whoever wrote it. */
  #isRestartDue(reading: ConfigReading): boolean {
    const { file, inUse, registration } = this.#needs;
    const running = inUse();
    if (running === undefined) return false;
    // It may have been closed since it was started.
    const mode = registration()?.mode;
    if (mode !== undefined && mode !== readRegistration(reading).mode) return true;
    return file.options.some((option) => {
      return (
        !MODE_OPTIONS.has(option) &&
        !file.describe(option).reloads &&
        !isSame(running.value(option), reading.value(option))
      );
    });
  }

  /**
   * Writes them into the file; null puts one back to its default. `was` is what those who change it believe it to be. Throws
   * M_INVALID_PARAM with the `field` at fault, M_UNKNOWN (409) with the one that was changed meanwhile.
   */
  change(values: Readonly<Record<string, SettingValue>>, was: Readonly<Record<string, SettingValue>> = {}): Changed {
    const { file } = this.#needs;
    const reading = file.read();
    const entries = new Map(entriesOf(reading).map((entry) => [entry.path, entry]));
    const changes = Object.entries(values).map(([path, value]): [string, JsonValue | undefined] => {
      const entry = entries.get(path);
      if (entry === undefined) throw mistake(path, 'There is no such setting');
      const believed = was[path];
      if (believed !== undefined && !isSame(believed, describe(entry, file, reading).value)) {
        throw new MatrixError(
          'M_UNKNOWN',
          'This was changed meanwhile, in the file or on another page. Save again to replace it.',
          {
            status: 409,
            fields: { field: path },
          },
        );
      }
      checkPort(reading, path, value);
      return [path, toWritten(entry, value, file.describe(path).choices)];
    });
    return this.#write({ ...this.#companions(values), ...Object.fromEntries(changes) });
  }

  /** What has to be there for a change to be a safe one. */
  #companions(values: Readonly<Record<string, SettingValue>>): Readonly<Record<string, JsonValue>> {
    const reading = this.#needs.file.read();
    if (values['url_preview_enabled'] !== true || reading.written('url_preview_ip_range_blacklist') !== undefined) {
      return {};
    }
    // Else anybody could have this machine look at what is only meant for the home network.
    const own = reading.value('ip_range_blacklist');
    return Array.isArray(own) ? { url_preview_ip_range_blacklist: own.map(String) } : {};
  }

  registration(): Registration {
    const written = readRegistration(this.#needs.file.read());
    const until = this.#needs.registration()?.mode;
    return until === undefined || until === written.mode ? written : { ...written, until };
  }

  /** Closing it counts at once: whoever does that may be doing it because of what comes in. */
  setRegistration(mode: RegistrationMode): Changed {
    const { file, registration, onChanged } = this.#needs;
    const changed = this.#write(registrationChanges(mode, file.read()));
    const running = registration();
    if (running === undefined) return changed;
    const before = running.mode;
    running.tighten(mode);
    if (running.mode !== before) onChanged();
    return { needsRestart: running.mode !== mode };
  }

  #write(changes: Readonly<Record<string, JsonValue | undefined>>): Changed {
    const { file, onChanged, onReload } = this.#needs;
    const before = file.read();
    file.edit(changes);
    const after = file.read();
    const moved = Object.keys(changes).filter((path) => !isSame(before.value(path), after.value(path)));
    const reloading = moved.filter((path) => file.describe(path).reloads);
    if (reloading.length > 0) onReload();
    if (moved.length > 0) onChanged();
    return { needsRestart: moved.length > reloading.length };
  }
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function describe(entry: CatalogueEntry, file: ConfigFile, reading: ConfigReading): Setting {
  const { fallback, reloads, takesNull } = file.describe(entry.path);
  const written = reading.written(entry.path);
  const isNever = written === null && takesNull && entry.never !== undefined;
  const isSet = (written !== undefined && written !== null) || isNever;
  const isSecret = entry.kind === 'secret';
  // Text as it is written: a path that is read has become absolute.
  const value = isSet && (entry.kind === 'text' || entry.kind === 'list') ? written : reading.value(entry.path);
  const problem = reading.problems.find(({ option }) => option === entry.path);
  return {
    ...entry,
    value: isSecret ? null : isNever ? NEVER : toValue(value),
    default: isSecret ? null : toValue(fallback),
    isSet,
    needsRestart: !reloads,
    ...(problem === undefined ? {} : { problem: problem.message }),
  };
}

function toValue(value: unknown): SettingValue {
  if (Array.isArray(value)) return value.map(String);
  switch (typeof value) {
    case 'string':
    case 'number':
      return value;
    case 'boolean':
      return value;
    default:
      return null;
  }
}

/** No limit, where an option has one unless that is said. */
const NEVER = 'never';

const UNITS = {
  bytes: [
    ['G', 2 ** 30],
    ['M', 2 ** 20],
    ['K', 2 ** 10],
  ],
  duration: [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ],
} as const;

function toWritten(
  entry: CatalogueEntry,
  value: SettingValue,
  choices: readonly (string | boolean)[] | undefined,
): JsonValue | undefined {
  const { path, kind } = entry;
  if (value === null) return undefined;
  switch (kind) {
    case 'switch':
      if (typeof value !== 'boolean') throw mistake(path, 'This is either on or off');
      return value;
    case 'number':
      if (typeof value !== 'number') throw mistake(path, 'This has to be a number');
      return value;
    case 'bytes':
    case 'duration': {
      if (value === NEVER && entry.never !== undefined) return null;
      if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
        throw mistake(path, kind === 'bytes' ? 'This has to be a size in bytes' : 'This has to be a time in ms');
      }
      // As a person would write it, where that says the same.
      const unit = value === 0 ? undefined : UNITS[kind].find(([, factor]) => value % factor === 0);
      return unit === undefined ? value : `${value / unit[1]}${unit[0]}`;
    }
    case 'choice': {
      const chosen = choices?.find((choice) => String(choice) === String(value));
      if (chosen === undefined) throw mistake(path, 'This is none of the choices');
      return chosen;
    }
    case 'list':
      if (!Array.isArray(value)) throw mistake(path, 'This has to be a list');
      return value;
    case 'text':
    case 'secret':
      if (typeof value !== 'string') throw mistake(path, 'This has to be text');
      // Nothing typed is nothing set.
      return value.trim() === '' ? undefined : value;
  }
}

function mistake(field: string, message: string): MatrixError {
  return new MatrixError('M_INVALID_PARAM', message, { fields: { field } });
}
