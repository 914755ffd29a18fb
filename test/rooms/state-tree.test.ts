import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decodeNode,
  differenceOf,
  encodeNode,
  findValue,
  type NodeId,
  NO_NODE,
  TreeDraft,
  type TreeNode,
  visitNodes,
  visitRange,
} from '../../server/rooms/state-tree.ts';

const SALT = 12345;
const HALF = 2 ** 32;

/** Stored nodes, as bytes: what is written is all that is remembered. */
class Shelf {
  readonly stored = new Map<NodeId, Uint8Array>();
  reads = 0;

  get(id: NodeId): TreeNode {
    this.reads += 1;
    const bytes = this.stored.get(id);
    if (bytes === undefined) throw new RangeError(`no node ${id}`);
    return decodeNode(bytes);
  }

  change(root: NodeId, change: (draft: TreeDraft, root: NodeId) => NodeId): NodeId {
    const draft = new TreeDraft(this, SALT);
    return draft.store(change(draft, root), (node) => {
      const id = this.stored.size + 1;
      this.stored.set(id, encodeNode(node));
      return id;
    });
  }

  entries(root: NodeId, from = 0, to = Number.POSITIVE_INFINITY): [number, number][] {
    const found: [number, number][] = [];
    visitRange(this, root, { from, to }, (key, value) => found.push([key, value]));
    return found;
  }

  nodesOf(root: NodeId): Set<NodeId> {
    const nodes = new Set<NodeId>();
    visitNodes(this, root, (_node, id) => nodes.add(id));
    return nodes;
  }
}

const key = fc
  .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 200 }))
  .map(([type, of]) => type * HALF + of);
const value = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('set' as const), key, value }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), key, value }) },
);
const steps = fc.array(step, { maxLength: 120, size: 'large' });

function sorted(map: ReadonlyMap<number, number>): [number, number][] {
  return [...map].sort(([a], [b]) => a - b);
}

function run(
  shelf: Shelf,
  start: NodeId,
  list: readonly { kind: 'set' | 'remove'; key: number; value: number }[],
  plain: Map<number, number>,
): NodeId {
  let root = start;
  for (const { kind, key: at, value: to } of list) {
    if (kind === 'set') plain.set(at, to);
    else plain.delete(at);
    root = shelf.change(root, (draft, old) => (kind === 'set' ? draft.set(old, at, to) : draft.remove(old, at)));
  }
  return root;
}

test('a state tree holds what a plain map would, whatever is set and removed', () => {
  fc.assert(
    fc.property(steps, (list) => {
      const shelf = new Shelf();
      const plain = new Map<number, number>();
      const root = run(shelf, NO_NODE, list, plain);
      assert.deepEqual(shelf.entries(root), sorted(plain));
      for (const { key: at } of list) assert.equal(findValue(shelf, root, at), plain.get(at));
    }),
  );
});

test('a range gives the keys of one type and nothing else', () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 0, max: 6 }), (list, type) => {
      const shelf = new Shelf();
      const plain = new Map<number, number>();
      const root = run(shelf, NO_NODE, list, plain);
      const wanted = sorted(plain).filter(([at]) => Math.floor(at / HALF) === type);
      assert.deepEqual(shelf.entries(root, type * HALF, (type + 1) * HALF), wanted);
    }),
  );
});

test('the shape of a tree follows from its keys, not from how they came', () => {
  fc.assert(
    fc.property(steps, (list) => {
      const shelf = new Shelf();
      const plain = new Map<number, number>();
      const root = run(shelf, NO_NODE, list, plain);
      const straight = shelf.change(NO_NODE, (draft, old) =>
        [...plain].reduceRight((tree, [at, to]) => draft.set(tree, at, to), old),
      );
      const shapeOf = (id: NodeId): unknown => {
        if (id === NO_NODE) return undefined;
        const node = shelf.get(id);
        return { ...node, children: node.children.map(shapeOf) };
      };
      assert.deepEqual(shapeOf(root), shapeOf(straight));
    }),
  );
});

test('the difference of two trees is what a comparison of two maps gives', () => {
  fc.assert(
    fc.property(steps, steps, steps, (common, ours, theirs) => {
      const shelf = new Shelf();
      const plain = new Map<number, number>();
      const start = run(shelf, NO_NODE, common, plain);
      const one = new Map(plain);
      const other = new Map(plain);
      const left = run(shelf, start, ours, one);
      const right = run(shelf, start, theirs, other);
      const wanted = [...new Set([...one.keys(), ...other.keys()])]
        .sort((a, b) => a - b)
        .filter((at) => one.get(at) !== other.get(at))
        .map((at) => [at, one.get(at), other.get(at)]);
      assert.deepEqual(differenceOf(shelf, left, right, SALT), wanted);
      assert.deepEqual(differenceOf(shelf, left, left, SALT), []);
    }),
  );
});

test('older versions of a tree stay as they were', () => {
  fc.assert(
    fc.property(steps, steps, (first, second) => {
      const shelf = new Shelf();
      const plain = new Map<number, number>();
      const root = run(shelf, NO_NODE, first, plain);
      const before = sorted(plain);
      run(shelf, root, second, new Map(plain));
      assert.deepEqual(shelf.entries(root), before);
    }),
  );
});

test('a node comes back from its bytes as it was, however large its numbers', () => {
  const large = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 2 ** 21 - 1 }), fc.integer({ min: 1, max: HALF - 1 })), {
        minLength: 1,
        maxLength: 40,
        selector: ([type, of]) => type * HALF + of,
      }),
      fc.integer({ min: 0, max: 7 }),
      fc.boolean(),
      large,
      (pairs, level, hasChildren, number) => {
        const keys = pairs.map(([type, of]) => type * HALF + of).sort((a, b) => a - b);
        const node: TreeNode = {
          level,
          keys,
          values: keys.map((_, index) => Math.max(1, number - index)),
          children: hasChildren ? [0, ...keys.map((_, index) => Math.max(0, number - 7 * index))] : [],
        };
        assert.deepEqual(decodeNode(encodeNode(node)), node);
      },
    ),
  );
});

test('bytes that end too early are no node', () => {
  const bytes = encodeNode({ level: 0, keys: [HALF + 1, HALF + 2], values: [1, 2], children: [] });
  assert.throws(() => decodeNode(bytes.subarray(0, -1)), RangeError);
});

test('a change in a tree of ten thousand keys writes one short path and shares the rest', () => {
  const shelf = new Shelf();
  const size = 10_000;
  let root = shelf.change(NO_NODE, (draft, old) => {
    let tree = old;
    for (let at = 1; at <= size; at++) tree = draft.set(tree, HALF + at, at);
    return tree;
  });
  let nodes = 0;
  let bytes = 0;
  const changes = 200;
  for (let turn = 1; turn <= changes; turn++) {
    const written = shelf.stored.size;
    const before = root;
    root = shelf.change(root, (draft, old) => draft.set(old, HALF + ((turn * 7919) % size) + 1, size + turn));
    for (let id = written + 1; id <= shelf.stored.size; id++) bytes += shelf.stored.get(id)?.length ?? 0;
    nodes += shelf.stored.size - written;
    const shared = shelf.nodesOf(root).intersection(shelf.nodesOf(before));
    assert.ok(shared.size >= shelf.nodesOf(root).size - 8, 'all but one path is shared');
  }
  assert.ok(nodes / changes <= 6, `${nodes / changes} nodes for a change`);
  assert.ok(bytes / changes <= 1_200, `${bytes / changes} bytes for a change`);
});

test('the difference of two large trees reads little more than what differs', () => {
  const shelf = new Shelf();
  const size = 10_000;
  const left = shelf.change(NO_NODE, (draft, old) => {
    let tree = old;
    for (let at = 1; at <= size; at++) tree = draft.set(tree, HALF + at, at);
    return tree;
  });
  const right = shelf.change(left, (draft, old) => draft.set(draft.set(old, HALF + 5, 99), HALF + 9_000, 99));
  shelf.reads = 0;
  assert.deepEqual(differenceOf(shelf, left, right, SALT), [
    [HALF + 5, 5, 99],
    [HALF + 9_000, 9_000, 99],
  ]);
  assert.ok(shelf.reads <= 40, `${shelf.reads} nodes read`);
});

test('setting what is already so writes nothing', () => {
  const shelf = new Shelf();
  const root = shelf.change(NO_NODE, (draft, old) => draft.set(old, HALF + 1, 7));
  const written = shelf.stored.size;
  assert.equal(
    shelf.change(root, (draft, old) => draft.remove(draft.set(old, HALF + 1, 7), HALF + 2)),
    root,
  );
  assert.equal(shelf.stored.size, written);
});
