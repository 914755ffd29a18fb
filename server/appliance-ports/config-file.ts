import { join } from 'node:path';
import { parseDocument } from 'yaml';
import type { ConfigFile } from '../appliance/settings/port.ts';
import { CONFIG_FILE, type LoadOptions } from '../config/config.ts';
import { editConfig } from '../config/edit.ts';
import { allOptions } from '../config/options/all.ts';
import type { Option } from '../config/option.ts';
import type { Form } from '../config/kinds.ts';
import { ConfigError, formatProblem } from '../config/problems.ts';
import { Source } from '../config/source.ts';
import { readFileSync } from 'node:fs';
import { MatrixError } from '../matrix/errors.ts';

/** The configuration in a data directory, for the interface. */
export function configFile(dataDir: string, overrides: LoadOptions['overrides'] = {}): ConfigFile {
  const path = join(dataDir, CONFIG_FILE);
  return {
    path,
    read: () => {
      const source = new Source([path]);
      const written = source.problems.some(({ option }) => option === '') ? undefined : parseWritten(path);
      return {
        value: (option) => option.split('.').reduce<unknown>((value, name) => memberOf(value, name), source.values),
        written: (option) => written?.(option.split('.')),
        problems: source.problems.map((problem) => ({
          option: problem.option,
          message: problem.message,
          sentence: formatProblem(problem),
        })),
      };
    },
    describe: (option) => {
      const { fallback, secret, reloads, kind } = findOption(option);
      const { form } = kind;
      return { fallback, isSecret: secret, reloads, choices: form.type === 'choice' ? form.values : undefined };
    },
    edit: (changes) => {
      try {
        editConfig(path, changes, { dataDir, overrides });
      } catch (error) {
        if (error instanceof ConfigError) throw toRefusal(error, Object.keys(changes));
        throw error;
      }
    },
  };
}

function parseWritten(path: string): (option: readonly string[]) => unknown {
  const document = parseDocument(readFileSync(path, 'utf8'), { version: '1.1' });
  const content: unknown = document.toJS();
  return (option) => option.reduce<unknown>((value, name) => memberOf(value, name), content);
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
  return new MatrixError('M_INVALID_PARAM', problem === undefined ? error.message : capitalise(problem.message), {
    fields: field === undefined ? {} : { field },
  });
}

function isAbout(option: string, path: string): boolean {
  return (
    option === path || option.startsWith(`${path}[`) || option.startsWith(`${path}.`) || path.startsWith(`${option}.`)
  );
}

function capitalise(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}
