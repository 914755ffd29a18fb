import { join, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import type { ConfigFile, ConfigReading } from '../appliance/settings/port.ts';
import { CONFIG_FILE, loadConfig, type LoadOptions } from '../config/config.ts';
import { editConfig } from '../config/edit.ts';
import { allOptions } from '../config/options/all.ts';
import type { Option } from '../config/option.ts';
import type { Form } from '../config/kinds.ts';
import { checkCertificate } from './certificate-check.ts';
import { ConfigError, formatProblem, type Problem } from '../config/problems.ts';
import { fileError, Source } from '../config/source.ts';
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import type { JsonValue } from '../matrix/json.ts';
import { MatrixError } from '../matrix/errors.ts';

/** Groups by what they hold: part of one may take effect without a restart. */
const options: readonly string[] = Object.entries(allOptions).flatMap(([name, { kind }]) =>
  kind.form.type === 'section' ? Object.keys(kind.form.options).map((inner) => `${name}.${inner}`) : [name],
);

/** The configuration in a data directory, for the interface. */
export function configFile(dataDir: string, overrides: LoadOptions['overrides'] = {}): ConfigFile {
  const path = join(dataDir, CONFIG_FILE);
  return {
    path,
    options,
    read: () => {
      const source = new Source([path]);
      const written = source.problems.some(({ option }) => option === '') ? undefined : parseWritten(path);
      return {
        value: (option) => valueIn(source.values, option),
        written: (option) => written?.(option.split('.')),
        problems: findProblems(source, { dataDir, overrides }).map((problem) => ({
          option: problem.option,
          message: problem.message,
          sentence: formatProblem(problem),
        })),
      };
    },
    describe: (option) => {
      const { fallback, secret, reloads, kind, note } = findOption(option);
      const { form } = kind;
      return {
        fallback,
        isSecret: secret,
        reloads,
        takesNull: kind.takesNull === true,
        choices: form.type === 'choice' ? form.values : undefined,
        note,
      };
    },
    edit: (changes) => {
      try {
        checkWritable(path);
        checkTls(changes, new Source([path]).values, dataDir);
        editConfig(path, changes, { dataDir, overrides });
      } catch (error) {
        if (error instanceof ConfigError) throw toRefusal(error, Object.keys(changes));
        const why = WRITE_FAILURES[codeOf(error)];
        if (why === undefined) throw error;
        throw new MatrixError(
          'M_FORBIDDEN',
          `${path} cannot be written: ${fileError(error)}. ${why} Nothing was changed.`,
        );
      }
    },
  };
}

/** What of the file system's errors somebody can mend, and how. */
const WRITE_FAILURES: Readonly<Record<string, string>> = {
  EACCES: 'Let the user that Hearth runs as write the file and its folder.',
  EPERM: 'Let the user that Hearth runs as write the file and its folder, and close other programs that have it open.',
  EBUSY: 'Close other programs that have it open.',
  EROFS: 'Make it writable, or change the option where the file comes from.',
  ENOSPC: 'Make room on the disk.',
  EDQUOT: 'Make room on the disk.',
};

const TLS_FIELDS = { certificatePath: 'tls_certificate_path', privateKeyPath: 'tls_private_key_path' } as const;

/** A certificate that nobody takes would keep the server from starting, or everybody from coming in. */
function checkTls(
  changes: Readonly<Record<string, JsonValue | undefined>>,
  values: Source['values'],
  dataDir: string,
): void {
  const names = Object.values(TLS_FIELDS);
  if (!names.some((name) => typeof changes[name] === 'string')) return;
  const [certificatePath, privateKeyPath] = names.map((name) => {
    const changed = Object.hasOwn(changes, name) ? changes[name] : values[name];
    return typeof changed === 'string' ? changed : undefined;
  });
  const { server_name: serverName, public_baseurl: publicUrl } = values;
  if (serverName === undefined) return;
  try {
    checkCertificate(
      { reach: 'domain', serverName, publicUrl, certificatePath, privateKeyPath },
      { dataDir, now: Date.now() },
    );
  } catch (error) {
    if (error instanceof MatrixError) {
      const { field } = error.fields;
      throw tlsRefusal(
        error.message,
        field === 'privateKeyPath' ? TLS_FIELDS.privateKeyPath : TLS_FIELDS.certificatePath,
      );
    }
    const at = error instanceof Error && 'path' in error ? error.path : undefined;
    const isKey =
      typeof at === 'string' && privateKeyPath !== undefined && at.endsWith(resolve(dataDir, privateKeyPath));
    throw tlsRefusal(
      `This file cannot be read: ${fileError(error)}`,
      isKey ? TLS_FIELDS.privateKeyPath : TLS_FIELDS.certificatePath,
    );
  }
}

function tlsRefusal(message: string, field: string): MatrixError {
  return new MatrixError('M_INVALID_PARAM', message, { fields: { field } });
}

/** Replacing a file would go around what somebody forbade on purpose. */
function checkWritable(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if ((found.mode & 0o222) === 0) {
    throw new MatrixError('M_FORBIDDEN', `${path} is marked read-only. Let it be written first. Nothing was changed.`);
  }
  accessSync(path, constants.W_OK);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** What is wrong with single options, and, where nothing is, with how they go together: what a start would refuse. */
function findProblems(source: Source, load: Pick<LoadOptions, 'dataDir' | 'overrides'>): readonly Problem[] {
  if (source.problems.length > 0) return source.problems;
  try {
    loadConfig(load);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

function parseWritten(path: string): (option: readonly string[]) => unknown {
  const document = parseDocument(readFileSync(path, 'utf8'), { version: '1.1' });
  const content: unknown = document.toJS();
  return (option) => option.reduce<unknown>((value, name) => memberOf(value, name), content);
}

/** What the options count as now, to be compared with what they are later. */
export function readOptions(dataDir: string): Pick<ConfigReading, 'value'> {
  // Not more than the values are kept of it.
  const { values } = new Source([join(dataDir, CONFIG_FILE)]);
  return { value: (option) => valueIn(values, option) };
}

function valueIn(values: unknown, option: string): unknown {
  return option.split('.').reduce<unknown>((value, name) => memberOf(value, name), values);
}

function memberOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return Reflect.get(value, name);
}

function findOption(path: string): Option<unknown> {
  const [first = '', ...rest] = path.split('.');
  let option: Option<unknown> | undefined = allOptions[first];
  for (const name of rest) option = option === undefined ? undefined : within(option.kind.form, name);
  if (option === undefined) throw new TypeError(`there is no option ${path}`);
  return option;
}

function within(form: Form, name: string): Option<unknown> | undefined {
  // Of a list, each entry is of one kind.
  if (form.type === 'list' && /^\d+$/.test(name)) {
    const kind = { expects: '', form: form.of, read: () => undefined };
    return { kind, fallback: undefined, about: '', note: undefined, required: false, secret: false, reloads: false };
  }
  // The form of a section holds its options as they were declared.
  return form.type === 'section' ? (form.options[name] as Option<unknown> | undefined) : undefined;
}

/** In the words for the one field that was changed and is wrong; else all that is wrong with the file, with lines. */
function toRefusal(error: ConfigError, changed: readonly string[]): MatrixError {
  const problem =
    error.problems.find(({ option }) => changed.some((path) => option === path || option.startsWith(`${path}[`))) ??
    error.problems.find(({ option }) =>
      changed.some((path) => option !== '' && path.split('.')[0] === option.split(/[.[]/)[0]),
    );
  const field =
    problem === undefined ? undefined : (changed.find((path) => isAbout(problem.option, path)) ?? changed[0]);
  return new MatrixError('M_INVALID_PARAM', problem === undefined ? error.message : sentence(problem.message), {
    fields: field === undefined ? {} : { field },
  });
}

function isAbout(option: string, path: string): boolean {
  return (
    option === path || option.startsWith(`${path}[`) || option.startsWith(`${path}.`) || path.startsWith(`${option}.`)
  );
}

/** Of an option, whose name stands before it in the file's problems. */
function sentence(text: string): string {
  if (/^(?:is|has|needs|asks|would|must|cannot|belongs)\b/.test(text)) return `This ${text}`;
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}
