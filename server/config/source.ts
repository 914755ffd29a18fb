import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { isMap, LineCounter, parseDocument } from 'yaml';
import { allOptions, type OptionValues } from './options/all.ts';
import { readFields } from './option.ts';
import { Place, type PlaceFile } from './place.ts';
import type { Problem } from './problems.ts';

/** What the configuration files say, and where. */
export class Source {
  readonly values: OptionValues;
  /** Absolute. */
  readonly files: readonly string[];
  readonly problems: Problem[] = [];
  readonly warnings: string[] = [];
  readonly #fields: ReadonlyMap<string, Place>;
  readonly #root: Place;
  // A file that could not be read may have had whatever the others lack.
  #incomplete = false;

  /**
   * Reads `paths`, each a file or a directory with files named *.yaml. An option in a later file replaces that of an
   * earlier one as a whole. What is wrong gathers in `problems`; nothing is thrown.
   */
  constructor(paths: readonly string[]) {
    this.files = paths.flatMap((path) => this.#expand(resolve(path)));
    const fields = new Map<string, Place>();
    let root: Place | undefined;
    for (const file of this.files) {
      const place = this.#parse(file);
      if (place === undefined) continue;
      root = place;
      for (const [name, field] of place.fields()) fields.set(name, field);
    }
    this.#fields = fields;
    this.#root = root ?? this.#emptyRoot();
    this.values = readFields(allOptions, fields, this.#root).values;
  }

  /** Whether the option stands in a file, with something behind its colon. */
  has(name: string): boolean {
    return this.#fields.get(name)?.node !== undefined;
  }

  /**
   * Records that options do not go together. `names` are those it depends on; the first that is written somewhere is
   * pointed at. Nothing is said if one of them is wrong already.
   */
  refuse(names: readonly [string, ...string[]], message: string): void {
    if (this.#incomplete) return;
    const spoilt = new Set(this.problems.map(({ option }) => option.split(/[.[]/, 1)[0]));
    if (names.some((name) => spoilt.has(name))) return;
    const place = names.map((name) => this.#fields.get(name)).find((found) => found !== undefined);
    if (place !== undefined) place.refuseKey(message);
    else this.#root.refuse(`${names[0]} ${message}`);
  }

  warn(name: string, message: string): void {
    const place = this.#fields.get(name);
    if (place !== undefined) place.warn(message);
    else this.warnings.push(`${name}: ${message}`);
  }

  #expand(path: string): readonly string[] {
    try {
      if (!statSync(path).isDirectory()) return [path];
      return readdirSync(path)
        .filter((name) => name.endsWith('.yaml'))
        .sort()
        .map((name) => join(path, name));
    } catch (error) {
      this.#fail(path, fileError(error));
      return [];
    }
  }

  #parse(path: string): Place | undefined {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (error) {
      this.#fail(path, fileError(error));
      return undefined;
    }
    const lines = new LineCounter();
    // Synapse reads YAML 1.1: yes and no are truth values, << merges.
    const document = parseDocument(text, { version: '1.1', lineCounter: lines, prettyErrors: false });
    const file: PlaceFile = {
      name: path,
      directory: dirname(path),
      document,
      lines,
      problems: this.problems,
      warnings: this.warnings,
    };
    for (const { code, message, pos } of document.errors) {
      const { line, col } = lines.linePos(pos[0]);
      const said = code === 'DUPLICATE_KEY' ? `${keyAt(text, pos[0])} is written twice` : `not valid YAML: ${message}`;
      this.problems.push({ file: path, line, column: col, option: '', message: said });
    }
    if (document.errors.length > 0) {
      this.#incomplete = true;
      return undefined;
    }
    const root = new Place(file, '', document.contents ?? undefined);
    if (root.node !== undefined && !isMap(root.node)) {
      this.#incomplete = true;
      root.refuse('a configuration is a mapping of options to values, one "name: value" a line');
      return undefined;
    }
    return root;
  }

  #emptyRoot(): Place {
    const document = parseDocument('');
    const name = this.files[0] ?? 'configuration';
    const file = { name, directory: '.', document, lines: new LineCounter() };
    return new Place({ ...file, problems: this.problems, warnings: this.warnings }, '', undefined);
  }

  #fail(path: string, message: string): void {
    this.#incomplete = true;
    this.problems.push({ file: path, line: undefined, column: undefined, option: '', message });
  }
}

function keyAt(text: string, start: number): string {
  const [key = ''] = /^[^:\r\n]{1,80}/.exec(text.slice(start)) ?? [];
  return key === '' ? 'an option' : key.trim();
}

/** What a file system error means, without its path and call. */
export function fileError(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const meanings: Readonly<Record<string, string>> = {
    ENOENT: 'there is no such file or directory',
    EACCES: 'permission denied',
    EPERM: 'not permitted',
    EISDIR: 'is a directory',
    ENOTDIR: 'a part of its path is not a directory',
    ENOSPC: 'the disk is full',
    EROFS: 'the file system is read-only',
  };
  return meanings[code] ?? (error instanceof Error ? error.message : String(error));
}
