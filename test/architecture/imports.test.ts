import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkImport, readImports, readImportsOf, type Import } from './imports.ts';

const root = join(import.meta.dirname, '..', '..');

function readTree(): Import[] {
  return globSync('{server,main,renderer}/**/*.{ts,tsx}', { cwd: root }).flatMap((file) =>
    readImportsOf(root, join(root, file)),
  );
}

test('every import in the tree keeps to the layout of the house', () => {
  const imports = readTree();
  assert.ok(imports.length > 100, 'the scan found the source tree');
  assert.deepEqual(
    imports.map(checkImport).filter((breach) => breach !== undefined),
    [],
  );
});

test('the scan reads every way of importing and no comment', () => {
  const source = `
    import { a } from './a.ts';
    import type { B } from '../matrix/b.ts';
    import '../c.ts';
    export { d } from './d.ts';
    const e = await import('./e.ts');
    // import { x } from './x.ts';
    /* import { y } from './y.ts'; */
  `;
  assert.deepEqual(
    readImports('server/http/here.ts', source).map((use) => use.to),
    ['server/http/a.ts', 'server/matrix/b.ts', 'server/c.ts', 'server/http/d.ts', 'server/http/e.ts'],
  );
});

test('a breach of any rule is found', () => {
  const breaches: readonly [string, string][] = [
    ['server/util/clock.ts', 'server/matrix/json.ts'],
    ['server/matrix/hash.ts', 'server/storage/types.ts'],
    ['server/matrix/hash.ts', 'node:fs'],
    ['server/storage/database.ts', 'server/matrix/json.ts'],
    ['server/http/server.ts', 'server/rooms/types.ts'],
    ['server/http/server.ts', 'better-sqlite3'],
    ['server/federation/client.ts', 'server/rooms/types.ts'],
    ['server/rooms/send.ts', 'server/sync/types.ts'],
    ['server/rooms/send.ts', 'server/http/route.ts'],
    ['server/rooms/send.ts', 'node:sqlite'],
    ['server/sync/window.ts', 'server/federation/client.ts'],
    ['server/sync/window.ts', 'server/modules/receipts/index.ts'],
    ['server/modules/receipts/routes.ts', 'server/modules/typing/index.ts'],
    ['server/modules/receipts/routes.ts', 'server/compose.ts'],
    ['server/modules/receipts/routes.ts', 'server/config/config.ts'],
    ['server/modules/receipts/routes.ts', 'koa'],
    ['server/compose.ts', 'server/modules/receipts/store.ts'],
    ['server/appliance/doctor.ts', 'server/modules/receipts/index.ts'],
    ['main/main.ts', 'server/main.ts'],
    ['renderer/api/bridge.ts', 'server/http/route.ts'],
    ['renderer/api/bridge.ts', 'node:fs'],
    ['server/cli.ts', 'electron'],
    ['server/cli.ts', 'test/kit/test-server.ts'],
  ];
  for (const [from, to] of breaches) {
    assert.notEqual(checkImport({ from, to }), undefined, `${from} → ${to} must be refused`);
  }
  const allowed: readonly [string, string][] = [
    ['server/modules/receipts/routes.ts', 'server/rooms/types.ts'],
    ['server/modules/receipts/routes.ts', 'server/modules/receipts/store.ts'],
    ['server/compose.ts', 'server/modules/receipts/index.ts'],
    ['server/storage/database.ts', 'better-sqlite3'],
    ['test/kit/test-server.ts', 'server/compose.ts'],
  ];
  for (const [from, to] of allowed) {
    assert.equal(checkImport({ from, to }), undefined, `${from} → ${to} must be allowed`);
  }
});

test('no file imports itself through others', () => {
  const graph = new Map<string, string[]>();
  for (const { from, to } of readTree()) {
    if (/^(server|main|renderer)\//.test(to)) graph.set(from, [...(graph.get(from) ?? []), to]);
  }
  assert.deepEqual(findCycles(graph), []);
  assert.equal(
    findCycles(
      new Map([
        ['a', ['b']],
        ['b', ['c']],
        ['c', ['a']],
      ]),
    ).length,
    1,
    'a seeded cycle is found',
  );
});

function findCycles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) {
      cycles.push([...path.slice(path.indexOf(file)), file].join(' → '));
      return;
    }
    if (done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return cycles;
}
