import { LRUCache } from 'lru-cache';
import { type StateKey, stateKeyOf } from '../matrix/events/event.ts';
import type { EventId } from '../matrix/identifiers.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../storage/types.ts';
import { type Random, systemRandom } from '../util/random.ts';
import {
  decodeNode,
  type Difference,
  differenceOf,
  encodeNode,
  findValue,
  type NodeId,
  type NodeSource,
  NO_NODE,
  TreeDraft,
  type TreeNode,
  visitNodes,
  visitRange,
  walkDifference,
} from './state-tree.ts';
import type { RoomState } from './types.ts';
import { atMost } from '../util/lru.ts';

/** One stored state: the root of its tree. `EMPTY_STATE` is the state before a room's first event. */
export type StateGroupId = NodeId;
export const EMPTY_STATE: StateGroupId = NO_NODE;

/** What one key of a state becomes: another event, or nothing. */
export interface StateChange {
  readonly type: string;
  readonly stateKey: string;
  readonly eventNid: number | undefined;
}

/** A key in which two states differ, with the event in the one and in the other. */
export interface StateDifference {
  readonly type: string;
  readonly stateKey: string;
  readonly left: number | undefined;
  readonly right: number | undefined;
}

/** A state that is put together over several writes; only good if all of them are committed. */
export interface StateDraft {
  add(tx: WriteTx, change: StateChange): void;
  store(tx: WriteTx): StateGroupId;
  /** Stores at most so many nodes; gives the state once that was all. Nothing can be added any more. */
  storeSome(tx: WriteTx, limit: number): StateGroupId | undefined;
}

/** Where a tree's keys are told apart: the type's number above, the state key's below. */
const HALF = 2 ** 32;
/** The most types a key can tell apart and stay a safe integer. */
const MAX_TYPES = 2 ** 21;
const NODES_KEPT = 20_000;
const TYPES_KEPT = 2_000;
const KEYS_KEPT = 50_000;
const CHANGES_KEPT = 1_000;

/**
 * The states of all rooms, as trees that share what they have in common (state-tree.ts): from the numbers of a type and
 * a state key to the number of an event.
 */
export class StateGroups {
  readonly #salt: number;
  readonly #nodes = new LRUCache<NodeId, TreeNode>(atMost(NODES_KEPT));
  /** What states became by single events. */
  readonly #changed = new LRUCache<string, StateGroupId>(atMost(CHANGES_KEPT));
  readonly #types: Names;
  readonly #keys: Names;
  readonly #source: NodeSource = { get: (id) => this.#getNode(id) };
  /** Never given out twice, so that the cache stays right when a write is undone. */
  #newestNode: NodeId;

  readonly #findNode: ReadStatement<{ data: Buffer }>;
  readonly #insertNode: WriteStatement;

  constructor({ db, random = systemRandom }: { db: Database; random?: Random }) {
    this.#findNode = db.prepareRead('SELECT data FROM state_nodes WHERE node_nid = ?');
    this.#insertNode = db.prepareWrite('INSERT INTO state_nodes (node_nid, data) VALUES (?, ?)');
    this.#types = new Names(db, 'state_types', TYPES_KEPT);
    this.#keys = new Names(db, 'state_keys', KEYS_KEPT);
    const newest = db.prepareRead<{ newest: number | null }>('SELECT max(node_nid) AS newest FROM state_nodes').find();
    this.#newestNode = newest?.newest ?? NO_NODE;
    this.#salt = readSalt(db, random);
  }

  /** The event that holds a key, by its number. */
  find(group: StateGroupId, type: string, stateKey: string): number | undefined {
    if (group === EMPTY_STATE) return undefined;
    const key = this.#findTreeKey(type, stateKey);
    return key === undefined ? undefined : findValue(this.#source, group, key);
  }

  /** All of one type, as [state key, event number]. */
  listType(group: StateGroupId, type: string): [string, number][] {
    const typeNid = this.#types.find(type);
    if (typeNid === undefined) return [];
    const found: [string, number][] = [];
    visitRange(this.#source, group, { from: typeNid * HALF, to: (typeNid + 1) * HALF }, (key, value) => {
      found.push([this.#keys.nameOf(key % HALF), value]);
    });
    return found;
  }

  /** Everything, but for one type if that is told, as [type, state key, event number]. What is left out is not read. */
  list(group: StateGroupId, without?: string): [string, string, number][] {
    const found: [string, string, number][] = [];
    const visit = (from: number, to: number): void =>
      visitRange(this.#source, group, { from, to }, (key, value) => {
        found.push([this.#types.nameOf(Math.floor(key / HALF)), this.#keys.nameOf(key % HALF), value]);
      });
    const left = without === undefined ? undefined : this.#types.find(without);
    if (left === undefined) visit(0, Number.POSITIVE_INFINITY);
    else {
      visit(0, left * HALF);
      visit((left + 1) * HALF, Number.POSITIVE_INFINITY);
    }
    return found;
  }

  /** The numbers of all events in a state. */
  listHolders(group: StateGroupId): Set<number> {
    const holders = new Set<number>();
    visitNodes(this.#source, group, ({ values }) => {
      for (const value of values) holders.add(value);
    });
    return holders;
  }

  countEntries(group: StateGroupId): number {
    let count = 0;
    visitNodes(this.#source, group, ({ keys }) => {
      count += keys.length;
    });
    return count;
  }

  /** Stores the state that `group` becomes by these changes; `group` itself if they change nothing. */
  change(tx: WriteTx, group: StateGroupId, changes: Iterable<StateChange>): StateGroupId {
    const draft = this.draft(group);
    for (const change of changes) draft.add(tx, change);
    return draft.store(tx);
  }

  /** The state that `group` becomes by one event. Asked again soon after, it gives the same one. */
  withEvent(tx: WriteTx, group: StateGroupId, change: StateChange): StateGroupId {
    const key = `${group} ${change.eventNid ?? ''}`;
    const known = this.#changed.get(key);
    if (known !== undefined) return known;
    const changed = this.change(tx, group, [change]);
    this.#changed.set(key, changed);
    tx.onRollback(() => this.#changed.delete(key));
    return changed;
  }

  /** Begins a state that comes out of another one, the empty one unless told, by and by. */
  draft(from: StateGroupId = EMPTY_STATE): StateDraft {
    const draft = new TreeDraft(this.#source, this.#salt);
    let root: NodeId = from;
    let storing: ReturnType<TreeDraft['storeSteps']> | undefined;
    let stored: NodeId = NO_NODE;
    const storeSome = (tx: WriteTx, limit: number): StateGroupId | undefined => {
      storing ??= draft.storeSteps(root);
      for (let left = limit; left >= 0; left--) {
        const step = storing.next(stored);
        if (step.done === true) return step.value;
        stored = this.#putNode(tx, step.value);
      }
      return undefined;
    };
    return {
      add: (tx, { type, stateKey, eventNid }) => {
        if (eventNid !== undefined) {
          root = draft.set(root, this.#makeTreeKey(tx, type, stateKey), eventNid);
          return;
        }
        const key = this.#findTreeKey(type, stateKey);
        if (key !== undefined) root = draft.remove(root, key);
      },
      store: (tx) => draft.store(root, (node) => this.#putNode(tx, node)),
      storeSome,
    };
  }

  #putNode(tx: WriteTx, node: TreeNode): NodeId {
    const id = ++this.#newestNode;
    this.#insertNode.run(tx, id, encodeNode(node));
    this.#nodes.set(id, node);
    return id;
  }

  /** The keys in which two states differ. Costs what differs, not what there is. */
  difference(left: StateGroupId, right: StateGroupId): StateDifference[] {
    return differenceOf(this.#source, left, right, this.#salt).map((entry) => this.#named(entry));
  }

  /** `difference` bit by bit; undefined now and then, where nothing was found for a while. */
  *walkDifference(left: StateGroupId, right: StateGroupId): Generator<StateDifference | undefined, void> {
    for (const entry of walkDifference(this.#source, left, right, this.#salt)) {
      yield entry === undefined ? undefined : this.#named(entry);
    }
  }

  #named([key, left, right]: Difference): StateDifference {
    return { type: this.#types.nameOf(Math.floor(key / HALF)), stateKey: this.#keys.nameOf(key % HALF), left, right };
  }

  #getNode(id: NodeId): TreeNode {
    const kept = this.#nodes.get(id);
    if (kept !== undefined) return kept;
    const row = this.#findNode.find(id);
    if (row === undefined) throw new Error(`node ${id} of a state tree is missing`);
    const node = decodeNode(row.data);
    this.#nodes.set(id, node);
    return node;
  }

  #findTreeKey(type: string, stateKey: string): number | undefined {
    const typeNid = this.#types.find(type);
    if (typeNid === undefined) return undefined;
    const keyNid = this.#keys.find(stateKey);
    return keyNid === undefined ? undefined : typeNid * HALF + keyNid;
  }

  #makeTreeKey(tx: WriteTx, type: string, stateKey: string): number {
    const typeNid = this.#types.find(type) ?? this.#types.insert(tx, type);
    if (typeNid >= MAX_TYPES) throw new Error('the rooms of this server know too many types of state');
    return typeNid * HALF + (this.#keys.find(stateKey) ?? this.#keys.insert(tx, stateKey));
  }
}

/** Strings that have numbers of their own. */
class Names {
  readonly #numbers: LRUCache<string, number>;
  readonly #names: LRUCache<number, string>;
  readonly #find: ReadStatement<{ nid: number }>;
  readonly #findName: ReadStatement<{ name: string }>;
  readonly #insert: WriteStatement;

  constructor(db: Database, table: 'state_types' | 'state_keys', kept: number) {
    const [nid, name] = table === 'state_types' ? ['type_nid', 'type'] : ['key_nid', 'state_key'];
    this.#find = db.prepareRead(`SELECT ${nid} AS nid FROM ${table} WHERE ${name} = ?`);
    this.#findName = db.prepareRead(`SELECT ${name} AS name FROM ${table} WHERE ${nid} = ?`);
    this.#insert = db.prepareWrite(`INSERT INTO ${table} (${name}) VALUES (?)`);
    this.#numbers = new LRUCache(atMost(kept));
    this.#names = new LRUCache(atMost(kept));
  }

  find(name: string): number | undefined {
    const kept = this.#numbers.get(name);
    if (kept !== undefined) return kept;
    const nid = this.#find.find(name)?.nid;
    if (nid !== undefined) this.#numbers.set(name, nid);
    return nid;
  }

  nameOf(nid: number): string {
    const kept = this.#names.get(nid);
    if (kept !== undefined) return kept;
    const row = this.#findName.find(nid);
    if (row === undefined) throw new Error(`number ${nid} in a state tree has no name`);
    this.#names.set(nid, row.name);
    return row.name;
  }

  insert(tx: WriteTx, name: string): number {
    // If this write is undone, the number goes to another name.
    tx.onRollback(() => {
      this.#numbers.clear();
      this.#names.clear();
    });
    return this.#insert.run(tx, name).lastId;
  }
}

function readSalt(db: Database, random: Random): number {
  const stored = db.prepareRead<{ salt: number }>('SELECT salt FROM state_tree_salt').find();
  if (stored !== undefined) return stored.salt;
  const salt = random.bytes(4).readUInt32LE();
  const insert = db.prepareWrite('INSERT INTO state_tree_salt (only_row, salt) VALUES (1, ?)');
  db.write((tx) => insert.run(tx, salt));
  return salt;
}

/** What a view of a state needs to know of events: the IDs that belong to their numbers. */
export interface EventNames {
  eventIdOf(nid: number): EventId;
  listEventIds(nids: readonly number[]): EventId[];
}

/** A stored state as the rest of the server sees it. */
export class StoredState implements RoomState {
  readonly group: StateGroupId;
  readonly #groups: StateGroups;
  readonly #events: EventNames;

  constructor(group: StateGroupId, groups: StateGroups, events: EventNames) {
    this.group = group;
    this.#groups = groups;
    this.#events = events;
  }

  find(type: string, stateKey: string): EventId | undefined {
    const nid = this.#groups.find(this.group, type, stateKey);
    return nid === undefined ? undefined : this.#events.eventIdOf(nid);
  }

  listType(type: string): readonly (readonly [string, EventId])[] {
    const found = this.#groups.listType(this.group, type);
    const ids = this.#events.listEventIds(found.map(([, nid]) => nid));
    return zip(
      found.map(([stateKey]) => stateKey),
      ids,
    );
  }

  *entries(): IterableIterator<readonly [StateKey, EventId]> {
    yield* this.#name(this.#groups.list(this.group));
  }

  *entriesWithout(type: string): IterableIterator<readonly [StateKey, EventId]> {
    yield* this.#name(this.#groups.list(this.group, type));
  }

  #name(found: readonly (readonly [string, string, number])[]): (readonly [StateKey, EventId])[] {
    const ids = this.#events.listEventIds(found.map(([, , nid]) => nid));
    return zip(
      found.map(([type, stateKey]) => stateKeyOf(type, stateKey)),
      ids,
    );
  }

  get size(): number {
    return this.#groups.countEntries(this.group);
  }
}

function zip<Left>(left: readonly Left[], right: readonly EventId[]): (readonly [Left, EventId])[] {
  const pairs: (readonly [Left, EventId])[] = [];
  for (const [index, item] of left.entries()) {
    const id = right[index];
    if (id !== undefined) pairs.push([item, id]);
  }
  return pairs;
}
