import { type Document, isAlias, isMap, isScalar, type LineCounter, type Node, type Pair, type YAMLMap } from 'yaml';
import type { Problem } from './problems.ts';

/** What is shared by all places of one file. */
export interface PlaceFile {
  /** As the user would name it. */
  readonly name: string;
  /** The directory that relative paths in it start from. */
  readonly directory: string;
  readonly document: Document;
  readonly lines: LineCounter;
  readonly problems: Problem[];
  readonly warnings: string[];
}

interface Position {
  readonly line: number | undefined;
  readonly column: number | undefined;
}

/** A spot in a configuration file: the value of an option, an entry of a list. */
export class Place {
  readonly file: PlaceFile;
  /** `listeners[0].port` */
  readonly option: string;
  /** Undefined where the file has nothing at all, or an explicit null. */
  readonly node: Node | undefined;
  readonly #at: Node | undefined;
  readonly #key: Node | undefined;

  /** `near` is a node to point at where the value itself is empty: its key. */
  constructor(file: PlaceFile, option: string, node: unknown, near?: Node) {
    this.file = file;
    this.option = option;
    const resolved = isAlias(node) ? node.resolve(file.document) : node;
    this.node = isNodeWithValue(resolved) ? resolved : undefined;
    this.#key = near;
    // An alias is complained about where it stands, not where its anchor is; a mapping or list where its name is.
    const own = isAlias(node) ? node : isScalar(this.node) ? this.node : undefined;
    this.#at = own ?? near ?? (isPlaced(node) ? node : undefined);
  }

  /** `name` of the manual with the place where it stands, for a warning. */
  describe(): string {
    const { line } = this.#positionOf(this.#key ?? this.#at);
    return line === undefined ? `${this.option} (${this.file.name})` : `${this.option} (${this.file.name}:${line})`;
  }

  position(): Position {
    return this.#positionOf(this.#at);
  }

  #positionOf(node: Node | undefined): Position {
    const start = node?.range?.[0];
    if (start === undefined) return { line: undefined, column: undefined };
    const { line, col } = this.file.lines.linePos(start);
    return { line, column: col };
  }

  /** Records that what stands here cannot be used. Returns undefined, for `return place.refuse(…)`. */
  refuse(message: string): undefined {
    this.file.problems.push({ file: this.file.name, ...this.position(), option: this.option, message });
  }

  /** The same for the name of the option rather than its value. */
  refuseKey(message: string): undefined {
    const position = this.#positionOf(this.#key ?? this.#at);
    this.file.problems.push({ file: this.file.name, ...position, option: this.option, message });
  }

  warn(message: string): void {
    this.file.warnings.push(`${this.describe()}: ${message}`);
  }

  /** The place of an entry of the list here. */
  entry(index: number, node: unknown): Place {
    return new Place(this.file, `${this.option}[${index}]`, node);
  }

  /**
   * The keys of the mapping here with the places of their values. Merge keys (`<<`) are resolved: what they bring is
   * overruled by what is written out. Keys that aren't text are refused.
   */
  fields(): ReadonlyMap<string, Place> {
    const found = new Map<string, Place>();
    if (isMap(this.node)) this.#collect(this.node, found);
    return found;
  }

  #collect(map: YAMLMap, found: Map<string, Place>): void {
    const merged: Pair[] = [];
    for (const pair of map.items) {
      const key = isScalar(pair.key) ? pair.key : undefined;
      if (key !== undefined && isMergeKey(key.value, key.source)) {
        merged.push(pair);
        continue;
      }
      // `7: x` is a number to YAML, but a name here.
      const name = key?.source ?? (typeof key?.value === 'string' ? key.value : undefined);
      if (key === undefined || name === undefined) {
        this.refuse('the keys of a mapping have to be text');
        continue;
      }
      const option = this.option === '' ? name : `${this.option}.${name}`;
      if (!found.has(name)) found.set(name, new Place(this.file, option, pair.value, key));
    }
    for (const pair of merged) {
      const from = new Place(this.file, this.option, pair.value).node;
      const sources = from !== undefined && 'items' in from && !isMap(from) ? from.items : [from];
      for (const source of sources as readonly unknown[]) {
        const map = new Place(this.file, this.option, source).node;
        if (isMap(map)) this.#collect(map, found);
      }
    }
  }
}

function isMergeKey(value: unknown, source: string | undefined): boolean {
  return typeof value === 'symbol' || (value === '<<' && (source === undefined || source === '<<'));
}

function isPlaced(node: unknown): node is Node {
  return typeof node === 'object' && node !== null && 'range' in node;
}

function isNodeWithValue(node: unknown): node is Node {
  return isPlaced(node) && !(isScalar(node) && node.value === null);
}

/** What stands at a place, in words, for "expected …, found …". Never the value itself: it may be a secret. */
export function describeValue(place: Place): string {
  const { node } = place;
  if (node === undefined) return 'nothing';
  if (isMap(node)) return 'a mapping';
  if (!isScalar(node)) return 'a list';
  switch (typeof node.value) {
    case 'string':
      return 'text';
    case 'boolean':
      return String(node.value);
    case 'number':
    case 'bigint':
      return `the number ${node.source ?? node.value}`;
    default:
      return 'a value of another kind';
  }
}
