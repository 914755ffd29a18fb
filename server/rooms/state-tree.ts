/**
 * A persistent search tree from integers to integers that shares structure: a change writes new nodes along one path and
 * leaves every other node to be used by both versions.
 *
 * Each key has a level, drawn from a hash so that one key in sixteen is a level up from the rest. A node holds all keys
 * of its level that lie between two keys of higher levels; what lies between two of its keys hangs below it. The shape
 * therefore follows from the set of keys alone, however it came about (compare Merkle search trees, Auvolat and Taïani
 * 2019), so that two versions with a common origin meet again in the same nodes.
 */
export interface TreeNode {
  /** Every key in this node has it; all below have a lower one. */
  readonly level: number;
  /** Ascending, never empty. */
  readonly keys: readonly number[];
  readonly values: readonly number[];
  /** One more than the keys, `NO_NODE` where nothing lies between; or empty for a node with nothing below. */
  readonly children: readonly number[];
}

/** Names a stored node. `NO_NODE` is the empty tree. */
export type NodeId = number;
export const NO_NODE: NodeId = 0;

export interface NodeSource {
  /** Throws where there is no such node. */
  get(id: NodeId): TreeNode;
}

/** Most bits of a hash that make a level; sixteen to the seventh keys are more than any room has. */
const MAX_LEVEL = 7;
const HALF = 2 ** 32;

/** The level of a key. `salt` keeps others from choosing keys that make the tree lopsided. */
function levelOf(key: number, salt: number): number {
  let hash = ((key % HALF) ^ Math.imul(Math.floor(key / HALF) + 1, 0x9e3779b1) ^ salt) >>> 0;
  // The finishing steps of MurmurHash3: every bit of the input may turn every bit of the output.
  for (let round = 0; round < 2; round++) {
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash = (hash ^ (hash >>> 16)) >>> 0;
  }
  const zeros = hash === 0 ? 32 : 31 - Math.clz32(hash & -hash);
  return Math.min(MAX_LEVEL, zeros >> 2);
}

/** The value of `key`, or undefined. Reads one node for each level. */
export function findValue(source: NodeSource, root: NodeId, key: number): number | undefined {
  let id = root;
  while (id !== NO_NODE) {
    const node = source.get(id);
    const at = placeOf(node.keys, key);
    if (node.keys[at] === key) return node.values[at];
    id = node.children[at] ?? NO_NODE;
  }
  return undefined;
}

/** Calls `visit` for every entry with `from <= key < to`, ascending. Reads only nodes that may hold some. */
export function visitRange(
  source: NodeSource,
  root: NodeId,
  { from, to }: { from: number; to: number },
  visit: (key: number, value: number) => void,
): void {
  if (root === NO_NODE) return;
  const node = source.get(root);
  const count = node.keys.length;
  for (let at = placeOf(node.keys, from); at <= count; at++) {
    visitRange(source, node.children[at] ?? NO_NODE, { from, to }, visit);
    const key = node.keys[at];
    const value = node.values[at];
    if (key === undefined || value === undefined || key >= to) return;
    visit(key, value);
  }
}

/** Calls `visit` with every node of the tree and its ID, parents first. */
export function visitNodes(source: NodeSource, root: NodeId, visit: (node: TreeNode, id: NodeId) => void): void {
  if (root === NO_NODE) return;
  const node = source.get(root);
  visit(node, root);
  for (const child of node.children) visitNodes(source, child, visit);
}

/** The index of the first key that is not less than `key`. */
function placeOf(keys: readonly number[], key: number): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((keys[middle] ?? Number.POSITIVE_INFINITY) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Changes to trees, kept in memory until `store`. Nodes made here have negative IDs; roots given out by one draft are
 * only good with it.
 */
export class TreeDraft implements NodeSource {
  readonly #source: NodeSource;
  readonly #salt: number;
  readonly #fresh: TreeNode[] = [];

  constructor(source: NodeSource, salt: number) {
    this.#source = source;
    this.#salt = salt;
  }

  get(id: NodeId): TreeNode {
    if (id > NO_NODE) return this.#source.get(id);
    const node = this.#fresh[-id - 1];
    if (node === undefined) throw new RangeError('no such node in this draft');
    return node;
  }

  /** The tree with `key` set to `value`; the same root if it already was. */
  set(root: NodeId, key: number, value: number): NodeId {
    return this.#set(root, key, value, levelOf(key, this.#salt));
  }

  /** The tree without `key`; the same root if it was not there. */
  remove(root: NodeId, key: number): NodeId {
    if (root === NO_NODE) return root;
    const { level, keys, values, children } = this.get(root);
    const at = placeOf(keys, key);
    if (keys[at] === key) {
      const joint = this.#join(children[at] ?? NO_NODE, children[at + 1] ?? NO_NODE);
      if (keys.length === 1) return joint;
      return this.#make(level, keys.toSpliced(at, 1), values.toSpliced(at, 1), this.#spliced(children, at, 2, [joint]));
    }
    const child = children[at] ?? NO_NODE;
    const changed = this.remove(child, key);
    return changed === child ? root : this.#make(level, keys, values, children.with(at, changed));
  }

  /** Parts a tree at `key` into what lies before it, its value, and what lies after it. */
  split(root: NodeId, key: number): { before: NodeId; value: number | undefined; after: NodeId } {
    if (root === NO_NODE) return { before: NO_NODE, value: undefined, after: NO_NODE };
    const node = this.get(root);
    const at = placeOf(node.keys, key);
    if (node.keys[at] === key) {
      return {
        before: this.#part(node, 0, at, node.children[at] ?? NO_NODE),
        value: node.values[at],
        after: this.#rest(node, at + 1, node.children[at + 1] ?? NO_NODE),
      };
    }
    const inner = this.split(node.children[at] ?? NO_NODE, key);
    return {
      before: this.#part(node, 0, at, inner.before),
      value: inner.value,
      after: this.#rest(node, at, inner.after),
    };
  }

  /** Writes the nodes of the tree that are new, children first, and gives the root's stored ID. */
  store(root: NodeId, put: (node: TreeNode) => NodeId): NodeId {
    const steps = this.storeSteps(root);
    let step = steps.next(NO_NODE);
    while (step.done !== true) step = steps.next(put(step.value));
    return step.value;
  }

  /** `store` node by node: gives each that is to be written and wants its stored ID back. */
  *storeSteps(root: NodeId): Generator<TreeNode, NodeId, NodeId> {
    if (root >= NO_NODE) return root;
    const node = this.get(root);
    const children: NodeId[] = [];
    for (const child of node.children) children.push(yield* this.storeSteps(child));
    return yield { ...node, children };
  }

  #set(root: NodeId, key: number, value: number, level: number): NodeId {
    if (root === NO_NODE) return this.#make(level, [key], [value], []);
    const node = this.get(root);
    if (level > node.level) {
      const { before, after } = this.split(root, key);
      return this.#make(level, [key], [value], [before, after]);
    }
    const at = placeOf(node.keys, key);
    const child = node.children[at] ?? NO_NODE;
    if (level < node.level) {
      const changed = this.#set(child, key, value, level);
      if (changed === child) return root;
      return this.#make(node.level, node.keys, node.values, this.#spliced(this.#allChildren(node), at, 1, [changed]));
    }
    if (node.keys[at] === key) {
      if (node.values[at] === value) return root;
      return this.#make(level, node.keys, node.values.with(at, value), node.children);
    }
    const { before, after } = this.split(child, key);
    return this.#make(
      level,
      node.keys.toSpliced(at, 0, key),
      node.values.toSpliced(at, 0, value),
      this.#spliced(this.#allChildren(node), at, 1, [before, after]),
    );
  }

  /** One tree of two whose keys do not interleave. */
  #join(left: NodeId, right: NodeId): NodeId {
    if (left === NO_NODE) return right;
    if (right === NO_NODE) return left;
    const one = this.get(left);
    const other = this.get(right);
    if (one.level > other.level) {
      const children = this.#allChildren(one);
      const joint = this.#join(children.at(-1) ?? NO_NODE, right);
      return this.#make(one.level, one.keys, one.values, children.with(-1, joint));
    }
    const children = this.#allChildren(other);
    if (one.level < other.level) {
      const joint = this.#join(left, children[0] ?? NO_NODE);
      return this.#make(other.level, other.keys, other.values, children.with(0, joint));
    }
    const before = this.#allChildren(one);
    const joint = this.#join(before.at(-1) ?? NO_NODE, children[0] ?? NO_NODE);
    return this.#make(
      one.level,
      [...one.keys, ...other.keys],
      [...one.values, ...other.values],
      [...before.slice(0, -1), joint, ...children.slice(1)],
    );
  }

  /** The keys of a node from `start` up to `end`, with `last` behind them. */
  #part(node: TreeNode, start: number, end: number, last: NodeId): NodeId {
    if (start === end) return last;
    const children = [...this.#allChildren(node).slice(start, end), last];
    return this.#make(node.level, node.keys.slice(start, end), node.values.slice(start, end), children);
  }

  /** The keys of a node from `start` on, with `first` before them. */
  #rest(node: TreeNode, start: number, first: NodeId): NodeId {
    if (start === node.keys.length) return first;
    const children = [first, ...this.#allChildren(node).slice(start + 1)];
    return this.#make(node.level, node.keys.slice(start), node.values.slice(start), children);
  }

  #allChildren(node: TreeNode): readonly NodeId[] {
    return node.children.length > 0 ? node.children : node.keys.map(() => NO_NODE).concat(NO_NODE);
  }

  #spliced(children: readonly NodeId[], at: number, count: number, replacement: NodeId[]): readonly NodeId[] {
    return children.length === 0 ? children : children.toSpliced(at, count, ...replacement);
  }

  #make(level: number, keys: readonly number[], values: readonly number[], children: readonly NodeId[]): NodeId {
    const isLeaf = children.every((child) => child === NO_NODE);
    this.#fresh.push({ level, keys, values, children: isLeaf ? [] : children });
    return -this.#fresh.length;
  }
}

/** An entry in which two trees differ: the key, its value in the one and in the other. */
export type Difference = readonly [key: number, left: number | undefined, right: number | undefined];

/** The entries in which two trees differ, ascending. Nodes they share are not read. */
export function differenceOf(source: NodeSource, left: NodeId, right: NodeId, salt: number): Difference[] {
  const found: Difference[] = [];
  for (const entry of walkDifference(source, left, right, salt)) if (entry !== undefined) found.push(entry);
  return found;
}

/** `differenceOf` bit by bit; undefined after each node that was looked at. */
export function walkDifference(
  source: NodeSource,
  left: NodeId,
  right: NodeId,
  salt: number,
): Generator<Difference | undefined, void> {
  return differences(new TreeDraft(source, salt), left, right);
}

function* differences(draft: TreeDraft, left: NodeId, right: NodeId): Generator<Difference | undefined, void> {
  if (left === right) return;
  if (left === NO_NODE) return yield* differencesToNone(draft, right, (key, value) => [key, undefined, value]);
  if (right === NO_NODE) return yield* differencesToNone(draft, left, (key, value) => [key, value, undefined]);
  const one = draft.get(left);
  const other = draft.get(right);
  yield undefined;
  if (one.level < other.level) {
    for (const entry of differences(draft, right, left)) {
      yield entry === undefined ? undefined : [entry[0], entry[2], entry[1]];
    }
    return;
  }
  if (one.level === other.level && isSame(one.keys, other.keys)) {
    for (let index = 0; index <= one.keys.length; index++) {
      yield* differences(draft, one.children[index] ?? NO_NODE, other.children[index] ?? NO_NODE);
      const key = one.keys[index];
      if (key !== undefined && one.values[index] !== other.values[index]) {
        yield [key, one.values[index], other.values[index]];
      }
    }
    return;
  }
  // The other tree is parted at each key of this node; parts that are the same node are done with.
  let rest = right;
  for (const [index, key] of one.keys.entries()) {
    const parts = draft.split(rest, key);
    yield* differences(draft, one.children[index] ?? NO_NODE, parts.before);
    if (one.values[index] !== parts.value) yield [key, one.values[index], parts.value];
    rest = parts.after;
  }
  yield* differences(draft, one.children[one.keys.length] ?? NO_NODE, rest);
}

function* differencesToNone(
  draft: TreeDraft,
  root: NodeId,
  entryOf: (key: number, value: number) => Difference,
): Generator<Difference | undefined, void> {
  if (root === NO_NODE) return;
  const { keys, values, children } = draft.get(root);
  yield undefined;
  for (let index = 0; index <= keys.length; index++) {
    yield* differencesToNone(draft, children[index] ?? NO_NODE, entryOf);
    const key = keys[index];
    const value = values[index];
    if (key !== undefined && value !== undefined) yield entryOf(key, value);
  }
}

function isSame(one: readonly number[], other: readonly number[]): boolean {
  return one.length === other.length && one.every((item, index) => item === other[index]);
}

/** A node as it is stored: integers of seven bits a byte, keys as distances from the one before. */
export function encodeNode(node: TreeNode): Buffer {
  const bytes: number[] = [];
  const write = (value: number): void => {
    let left = value;
    while (left >= 128) {
      bytes.push((left % 128) | 128);
      left = Math.floor(left / 128);
    }
    bytes.push(left);
  };
  write(node.keys.length * 16 + node.level * 2 + (node.children.length > 0 ? 1 : 0));
  let high = 0;
  let low = 0;
  for (const [index, key] of node.keys.entries()) {
    const keyHigh = Math.floor(key / HALF);
    const keyLow = key % HALF;
    if (keyHigh !== high) low = 0;
    write(keyHigh - high);
    write(keyLow - low);
    write(node.values[index] ?? 0);
    high = keyHigh;
    low = keyLow;
  }
  for (const child of node.children) write(child);
  return Buffer.from(bytes);
}

/** The node that `encodeNode` wrote. Throws RangeError where the bytes end too early. */
export function decodeNode(bytes: Uint8Array): TreeNode {
  let at = 0;
  const read = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) throw new RangeError('a node of a state tree is cut short');
      value += (byte % 128) * factor;
      if (byte < 128) return value;
    }
  };
  const head = read();
  const count = Math.floor(head / 16);
  const keys: number[] = [];
  const values: number[] = [];
  const children: number[] = [];
  let high = 0;
  let low = 0;
  for (let index = 0; index < count; index++) {
    const step = read();
    high += step;
    low = step === 0 ? low + read() : read();
    keys.push(high * HALF + low);
    values.push(read());
  }
  if (head % 2 === 1) for (let index = 0; index <= count; index++) children.push(read());
  return { level: Math.floor(head / 2) % 8, keys, values, children };
}
