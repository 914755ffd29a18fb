import { readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import { allOptions, type OptionValues } from './options/all.ts';
import { readFields } from './option.ts';
import { Place } from './place.ts';
import type { Problem } from './problems.ts';
import { fileError, readYamlFile } from './yaml-file.ts';

export { fileError } from './yaml-file.ts';

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
    const purpose = 'a configuration is a mapping of options to values, one "name: value" a line';
    const root = readYamlFile(path, purpose, this);
    if (root === undefined) this.#incomplete = true;
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
