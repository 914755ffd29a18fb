import { readdirSync, type Stats, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { Document, isAlias, isMap, isScalar, isSeq, parseDocument } from 'yaml';
import { isSafeName } from '../appliance/backups/names.ts';
import type { SourceFile } from '../appliance/backups/port.ts';
import type { Form } from '../config/kinds.ts';
import type { Config } from '../config/types.ts';
import { allOptions } from '../config/options/all.ts';

/** A file that an option names is part of a backup up to this size, bytes, and a folder up to so many files. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;
const MAX_FOLDER_FILES = 2_000;

/** What these options name is where it always is in a restored data directory, whatever it was called. */
const FIXED: Readonly<Record<string, string>> = {
  'database.args.database': 'homeserver.db',
  media_store_path: 'media',
};
/** Made when they are needed: nothing to keep. */
const PASSING = new Set(['pid_file', 'hearth.log_file', 'listeners.path']);
/** Where those go that were made outside of the data directory: another machine may have no such place. */
const ANYWHERE: Readonly<Record<string, string>> = {
  pid_file: 'homeserver.pid',
  'hearth.log_file': 'logs/hearth.log',
};

export interface PortableConfig {
  readonly text: string;
  /** The files it names. */
  readonly files: readonly SourceFile[];
}

/** A configuration file: its absolute path, and what is in it. */
export interface ConfigText {
  readonly path: string;
  readonly text: string;
}

/** One document of several files, and from where the paths in each of its options start. */
function joinTexts(texts: readonly ConfigText[]): {
  readonly document: Document;
  readonly baseOf: (option: string) => string | undefined;
} {
  const [first, ...others] = texts;
  const bases = new Map<string, string>();
  const whole: Record<string, unknown> = {};
  for (const { path, text } of texts) {
    const content: unknown = parseDocument(text, { version: '1.1' }).toJS();
    if (typeof content !== 'object' || content === null) continue;
    for (const [name, value] of Object.entries(content)) {
      whole[name] = value;
      bases.set(name, dirname(path));
    }
  }
  const document: Document =
    others.length === 0
      ? parseDocument(first?.text ?? '', { version: '1.1' })
      : new Document(whole, { version: '1.1' });
  return { document, baseOf: (option) => bases.get(option) };
}

/**
 * A configuration that works in another directory, on another machine: what its paths lead to comes along, and they start from
 * the data directory. Comments stay, and the whole text where there is nothing to change; several files become one, without
 * their comments, an option of a later one in place of that of an earlier one.
 */
export function makePortable(
  texts: readonly ConfigText[],
  { dataDir, serverName, keyFile }: { readonly dataDir: string; readonly serverName: string; readonly keyFile: string },
): PortableConfig {
  const { document, baseOf } = joinTexts(texts);
  const files = new Map<string, SourceFile>();
  let isChanged = texts.length !== 1;

  const nameFor = (path: string): string => {
    const inside = relative(dataDir, path).split(sep).join('/');
    if (isSafeName(inside)) return inside;
    const plain =
      basename(path)
        .replaceAll(/[^\w.-]/g, '_')
        .replace(/[. ]+$/, '') || 'file';
    for (let count = 1; ; count += 1) {
      const name = `files/${count === 1 ? '' : `${count}-`}${plain}`;
      if (![...files.keys()].some((taken) => taken === name || taken.startsWith(`${name}/`))) return name;
    }
  };

  /** The name it has in the backup; undefined where it is left as it is. */
  const take = (option: string, path: string): string | undefined => {
    const fixed = FIXED[option];
    if (fixed !== undefined) return fixed;
    if (option === 'signing_key_path') return keyFile;
    const inside = relative(dataDir, path).split(sep).join('/');
    const isInside = inside !== '' && !inside.startsWith('..') && !inside.includes(':');
    const known = PASSING.has(option) ? undefined : statAt(path);
    if (known?.isFile() === true && known.size <= MAX_FILE_BYTES) {
      const same = [...files.values()].find((file) => 'path' in file && file.path === path);
      const name = same?.name ?? nameFor(path);
      files.set(name, { name, path });
      return name;
    }
    if (known?.isDirectory() === true) {
      const name = nameFor(path);
      for (const file of listFolder(path)) {
        const inner = `${name}/${relative(path, file).split(sep).join('/')}`;
        if (isSafeName(inner)) files.set(inner, { name: inner, path: file });
      }
      return name;
    }
    return isInside ? inside : ANYWHERE[option];
  };

  const visit = (node: unknown, form: Form, option: string): void => {
    const value = isAlias(node) ? node.resolve(document) : node;
    if (form.type === 'path' && isScalar(value) && typeof value.value === 'string' && value.value !== '') {
      if (value.value === ':memory:') return;
      const base = baseOf(option.split('.', 1)[0] ?? '') ?? dataDir;
      const path = resolve(base, value.value);
      const name = take(option, path);
      const isAsItWillBe = base === dataDir && !isAbsolute(value.value);
      // Nothing that could be taken along is where it was, wherever the configuration goes.
      if (
        name === undefined ? isAsItWillBe || isAbsolute(value.value) : isAsItWillBe && resolve(dataDir, name) === path
      ) {
        return;
      }
      value.value = name ?? path;
      isChanged = true;
    } else if ((form.type === 'list' || form.type === 'map') && isSeq(value)) {
      for (const item of value.items) visit(item, form.of, option);
    } else if (form.type === 'map' && isMap(value)) {
      for (const { value: item } of value.items) visit(item, form.of, option);
    } else if (form.type === 'section' && isMap(value)) {
      for (const { key, value: item } of value.items) {
        const field = isScalar(key) ? String(key.value) : '';
        const known = Object.hasOwn(form.options, field) ? form.options[field] : undefined;
        if (known !== undefined) visit(item, known.kind.form, option === '' ? field : `${option}.${field}`);
      }
    }
  };
  visit(document.contents, { type: 'section', options: allOptions }, '');
  if (document.get('server_name') !== serverName) {
    document.set('server_name', serverName);
    isChanged = true;
  }
  return {
    text: isChanged ? document.toString({ lineWidth: 0, flowCollectionPadding: false }) : (texts[0]?.text ?? ''),
    files: [...files.values()],
  };
}

/**
 * A restored configuration for the machine that the same server is on already: certificates that something else renews, and media
 * where the backup brings none, stay where they are by the present one.
 */
export function keepPlaces(
  text: string,
  { present, dataDir, hasMedia }: { readonly present: Config; readonly dataDir: string; readonly hasMedia: boolean },
): string {
  const document = parseDocument(text, { version: '1.1' });
  const isElsewhere = (path: string): boolean =>
    relative(dataDir, path).startsWith('..') || isAbsolute(relative(dataDir, path));
  const places: [option: string, path: string | undefined][] = [
    ['tls_certificate_path', present.tls?.certificatePath],
    ['tls_private_key_path', present.tls?.privateKeyPath],
    ['media_store_path', hasMedia ? undefined : present.media.storePath],
  ];
  let isChanged = false;
  for (const [option, path] of places) {
    if (path === undefined || !isElsewhere(path) || statAt(path) === undefined) continue;
    // A restored server that speaks no TLS itself goes on so.
    if (option !== 'media_store_path' && !document.has(option)) continue;
    document.set(option, path);
    isChanged = true;
  }
  return isChanged ? document.toString({ lineWidth: 0, flowCollectionPadding: false }) : text;
}

function listFolder(path: string): string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .slice(0, MAX_FOLDER_FILES)
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => (statAt(file)?.size ?? Infinity) <= MAX_FILE_BYTES);
}

function statAt(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false });
}
