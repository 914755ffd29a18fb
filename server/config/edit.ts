import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type Document, isAlias, isMap, isNode, parseDocument, YAMLMap } from 'yaml';
import type { JsonValue } from '../matrix/json.ts';
import { loadConfig, type LoadOptions } from './config.ts';
import { ConfigError } from './problems.ts';
import { spliceIn, spliceOut } from './splice.ts';
import { fileError } from './yaml-file.ts';
import type { Config } from './types.ts';

/** What options are to say, by their paths (`hearth.log_level`). Undefined takes an option out, so that its default holds. */
export type ConfigChanges = Readonly<Record<string, JsonValue | undefined>>;

/** Long lines stay whole, `[]` stays as narrow as it is mostly written. */
const FORMAT = { lineWidth: 0, flowCollectionPadding: false } as const;

/**
 * The text of a configuration with options changed; comments, order, and the way whatever is not named is written, stay. Throws ConfigError where
 * the text is no YAML, or an option cannot be reached.
 */
export function editConfigText(file: string, text: string, changes: ConfigChanges): string {
  let edited = text;
  for (const [option, value] of Object.entries(changes)) edited = editOption(file, edited, option.split('.'), value);
  return edited;
}

function editOption(file: string, text: string, path: readonly string[], value: JsonValue | undefined): string {
  const document = parse(text);
  if (document.errors.length > 0 || !(isMap(document.contents) || document.contents === null)) {
    throw refusal(file, '', 'cannot be changed before it is valid YAML, with a "name: value" on each line');
  }
  const wanted = withOption(copyOf(document.toJS()), path, value);
  if (isDeepStrictEqual(wanted, copyOf(document.toJS()))) return text;
  const isMeant = (result: string): boolean => {
    const reread = parse(result);
    return reread.errors.length === 0 && isDeepStrictEqual(withOption(copyOf(reread.toJS()), [], undefined), wanted);
  };
  try {
    const spliced = value === undefined ? spliceOut(text, document, path) : spliceIn(text, document, path, value);
    if (spliced !== undefined && isMeant(spliced)) return spliced;
    // Else the whole of it is written anew, as narrow as it mostly is.
    if (value === undefined) removeOption(document, file, path);
    else setOption(document, file, path, value);
    const written = document.toString(FORMAT);
    const edited = text.includes('\r\n') ? written.replaceAll(/\r?\n/g, '\r\n') : written;
    // What is written must be read as what was meant, whatever oddities of YAML the file has.
    if (isMeant(edited)) return edited;
  } catch (error) {
    // An anchor that something refers to would go.
    if (!(error instanceof ReferenceError || (error instanceof Error && /alias/i.test(error.message)))) throw error;
  }
  throw refusal(
    file,
    path.join('.'),
    'is written in a way that cannot be changed safely by a program; change it with an editor',
  );
}

/** As it is read: Synapse's YAML is that of version 1.1. */
function parse(text: string): Document {
  return parseDocument(text, { version: '1.1' });
}

/** What aliases share is apart in the copy: a change of one would else be one of the others. */
function copyOf(value: unknown, depth = 0): unknown {
  if (depth > 100 || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((each) => copyOf(each, depth + 1));
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, copyOf(each, depth + 1)]));
}

/** What a file is to say after a change; mappings that have become empty by it are gone. */
function withOption(content: unknown, path: readonly string[], value: JsonValue | undefined): unknown {
  const [name, ...rest] = path;
  if (Array.isArray(content) && name !== undefined) {
    return content.map((each: unknown, index) => (String(index) === name ? withOption(each, rest, value) : each));
  }
  const fields = isPlain(content) ? content : {};
  if (name === undefined) return content ?? fields;
  const present = Object.hasOwn(fields, name) ? fields[name] : undefined;
  const { [name]: _former, ...others } = fields;
  if (rest.length === 0) return value === undefined ? others : { ...fields, [name]: value };
  if (value !== undefined) return { ...fields, [name]: withOption(present, rest, value) };
  if (!isPlain(present)) return fields;
  const left = withOption(present, rest, undefined);
  const isGone = isPlain(left) && Object.keys(left).length === 0 && Object.keys(present).length > 0;
  return isGone ? others : { ...fields, [name]: left };
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/**
 * Changes options of a configuration file. What comes out is loaded before it takes the place of the file, all at once:
 * after a mistake, or an end of the program at any moment, the file is as it was. Throws ConfigError, which names the options
 * at fault, and the file system's errors as such.
 */
export function editConfig(
  file: string,
  changes: ConfigChanges,
  load: Pick<LoadOptions, 'dataDir' | 'overrides'> = {},
): Config {
  return replaceConfig(file, editConfigText(file, readText(file), changes), load);
}

/** Puts `text` in the place of a configuration file, under the same care. */
export function replaceConfig(
  file: string,
  text: string,
  load: Pick<LoadOptions, 'dataDir' | 'overrides'> = {},
): Config {
  // A link stays one: what it leads to is replaced.
  const target = exists(file) ? realpathSync(file) : file;
  const directory = dirname(target);
  const temporary = join(directory, `.homeserver.${randomBytes(6).toString('hex')}.new`);
  try {
    const mode = exists(target) ? statSync(target).mode & 0o777 : 0o600;
    writeDurably(temporary, text, mode);
    const { config } = loadConfig({ ...load, dataDir: load.dataDir ?? dirname(file), configPath: temporary });
    renameSync(temporary, target);
    syncDirectory(directory);
    return config;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(
      error.problems.map((problem) => (problem.file === temporary ? { ...problem, file } : problem)),
    );
  } finally {
    rmSync(temporary, { force: true });
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw refusal(file, '', `cannot be read: ${fileError(error)}`);
  }
}

function setOption(document: Document, file: string, path: readonly string[], value: JsonValue): void {
  let map = rootOf(document);
  for (const name of path.slice(0, -1))
    map = enter(document, map, name, () => refusal(file, path.join('.'), UNREACHABLE));
  const name = path.at(-1) ?? '';
  const present = map.get(name, true);
  const node = document.createNode(value);
  if (isNode(present)) {
    if (isDeepStrictEqual(present.toJS(document), value)) return;
    // A remark at the end of its line stays there.
    if (present.comment !== undefined) node.comment = present.comment;
    if (present.commentBefore !== undefined) node.commentBefore = present.commentBefore;
  }
  map.set(name, node);
}

const UNREACHABLE = 'belongs to something that is written in a way that cannot be changed here; use an editor';

/** The mapping under a name, made where there is none. */
function enter(document: Document, map: YAMLMap, name: string, refuse: () => Error): YAMLMap {
  const present = map.get(name, true);
  if (isMap(present)) return present;
  // What an alias leads to counts elsewhere too.
  if (isAlias(present) || (isNode(present) && present.toJS(document) !== null)) throw refuse();
  // Not by createNode: an empty mapping would be written in braces, and stay so.
  const made = new YAMLMap(document.schema);
  map.set(name, made);
  return made;
}

function removeOption(document: Document, file: string, path: readonly string[]): void {
  const maps: YAMLMap[] = [rootOf(document)];
  for (const name of path.slice(0, -1)) {
    const next = maps.at(-1)?.get(name, true);
    if (isAlias(next)) throw refusal(file, path.join('.'), UNREACHABLE);
    if (!isMap(next)) return;
    maps.push(next);
  }
  for (const [index, name] of [...path.entries()].toReversed()) {
    const map = maps[index];
    if (map === undefined) return;
    removePair(document, map, name);
    // A mapping that has become empty goes with its last option.
    if (map.items.length > 0) return;
  }
}

/** Takes a pair out. What was remarked above it stays where it was. */
function removePair(document: Document, map: YAMLMap, name: string): void {
  const index = map.items.findIndex(({ key }) => (isNode(key) ? key.toJS(document) : key) === name);
  const pair = map.items[index];
  if (pair === undefined) return;
  const remark = isNode(pair.key) ? pair.key.commentBefore : undefined;
  map.items.splice(index, 1);
  if (remark === undefined || remark === null) return;
  const after = map.items[index]?.key;
  if (isNode(after)) {
    after.commentBefore = joinRemarks(remark, after.commentBefore);
    after.spaceBefore = true;
  } else if (map === document.contents) document.comment = joinRemarks(remark, document.comment);
  else map.comment = joinRemarks(remark, map.comment);
}

function joinRemarks(first: string, second: string | null | undefined): string {
  return second === undefined || second === null ? first : `${first}\n\n${second}`;
}

function rootOf(document: Document): YAMLMap {
  if (isMap(document.contents)) return document.contents;
  const root = new YAMLMap(document.schema);
  document.contents = root;
  return root;
}

function refusal(file: string, option: string, message: string): ConfigError {
  return new ConfigError([{ file, line: undefined, column: undefined, option, message }]);
}

function exists(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false }) !== undefined;
}

function writeDurably(file: string, text: string, mode: number): void {
  const handle = openSync(file, 'wx', mode);
  try {
    writeFileSync(handle, text);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** Makes a rename in it last. */
function syncDirectory(directory: string): void {
  // Windows opens no directories, and needs no such thing.
  if (process.platform === 'win32') return;
  const handle = openSync(directory, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
