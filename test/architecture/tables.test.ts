import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..', '..');

interface Source {
  readonly file: string;
  readonly text: string;
}

/** A kernel folder (`server/rooms`) or a module (`server/modules/tags`): whoever owns a table, owns it with this. */
function ownerOf(file: string): string {
  const parts = file.split('/');
  return parts.slice(0, parts[1] === 'modules' ? 3 : 2).join('/');
}

function findTables(sources: readonly Source[]): Map<string, string> {
  const owners = new Map<string, string>();
  for (const { file, text } of sources) {
    for (const match of text.matchAll(/CREATE\s+(?:VIRTUAL\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)/g)) {
      const table = match[1] ?? '';
      const other = owners.get(table);
      assert.ok(other === undefined || other === ownerOf(file), `${table} is made by ${other} and by ${file}`);
      owners.set(table, ownerOf(file));
    }
  }
  return owners;
}

/** Where SQL touches a table that belongs to somebody else. */
function findIntruders(sources: readonly Source[], owners: ReadonlyMap<string, string>): string[] {
  return sources.flatMap(({ file, text }) =>
    [...text.matchAll(/\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+([a-z_]\w*)\b/g)]
      .map((match) => match[1] ?? '')
      .filter((table) => owners.has(table) && owners.get(table) !== ownerOf(file))
      .map((table) => `${file}: ${table} belongs to ${owners.get(table)}`),
  );
}

test('every table is touched by the one folder that made it', () => {
  const sources = globSync('server/**/*.ts', { cwd: root }).map((file) => ({
    file: file.replaceAll('\\', '/'),
    text: readFileSync(join(root, file), 'utf8'),
  }));
  const owners = findTables(sources);
  assert.ok(owners.size > 20, 'the scan found the tables');
  assert.deepEqual(findIntruders(sources, owners), []);
});

test('a query of a table that belongs to somebody else is found', () => {
  const sources = [
    { file: 'server/modules/tags/schema.ts', text: 'CREATE TABLE room_tags (a TEXT) STRICT' },
    { file: 'server/modules/tags/store.ts', text: 'SELECT a FROM room_tags' },
    { file: 'server/modules/push/store.ts', text: 'SELECT a FROM x JOIN room_tags USING (a)' },
  ];
  assert.deepEqual(findIntruders(sources, findTables(sources)), [
    'server/modules/push/store.ts: room_tags belongs to server/modules/tags',
  ]);
});
