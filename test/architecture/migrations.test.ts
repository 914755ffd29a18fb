import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { allMigrations } from '../../server/compose.ts';
import { storageMigrations } from '../../server/storage/schema.ts';
import type { MigrationSet } from '../../server/storage/types.ts';
import { findDepartures, listSteps, type StepList } from './released-migrations.ts';

const HELP = `
A step that was released never changes and never goes: a database that ran it would be refused. Write a new step at the
end of its owner's list, and add it to those listed:
    node test/architecture/list-migrations.ts > test/architecture/released-migrations.json
The difference of that file must be added lines only.
`;

const released: StepList = JSON.parse(readFileSync(join(import.meta.dirname, 'released-migrations.json'), 'utf8'));

test('every released step of the schema is there unchanged and in its place, and every step is listed', () => {
  const present = listSteps([storageMigrations, ...allMigrations]);
  assert.ok(Object.keys(present).length > 15, 'the steps were found');
  assert.deepEqual(findDepartures(released, present), [], HELP);
});

test('what is said to list the steps anew lists them', () => {
  const script = fileURLToPath(new URL('list-migrations.ts', import.meta.url));
  const printed = execFileSync(process.execPath, [script], { encoding: 'utf8' });
  assert.deepEqual(JSON.parse(printed), listSteps([storageMigrations, ...allMigrations]));
});

test('no owner of steps comes twice', () => {
  const owners = [storageMigrations, ...allMigrations].map(({ owner }) => owner);
  assert.deepEqual(owners.length, new Set(owners).size);
});

test('a step that was changed, moved, dropped or not listed is found, and one that was re-indented is none of these', () => {
  const set = (owner: string, ...steps: string[]): MigrationSet => ({
    owner,
    migrations: steps.map((sql) => ({ sql })),
  });
  const before = listSteps([
    set('tags', 'CREATE TABLE a (x TEXT)', 'DROP TABLE a'),
    set('push', 'CREATE TABLE b (y TEXT)'),
  ]);
  const now = (...sets: MigrationSet[]): string[] => findDepartures(before, listSteps(sets));
  const push = set('push', 'CREATE TABLE b (y TEXT)');

  assert.deepEqual(now(push, set('tags', '\n  CREATE TABLE a\n    (x TEXT)\n', 'DROP TABLE a')), []);
  assert.deepEqual(now(push, set('tags', 'CREATE TABLE a (x INTEGER)', 'DROP TABLE a')), [
    'step 1 of "tags" was changed',
  ]);
  assert.deepEqual(now(push, set('tags', 'DROP TABLE a', 'CREATE TABLE a (x TEXT)')), [
    'step 1 of "tags" was changed',
    'step 2 of "tags" was changed',
  ]);
  assert.deepEqual(now(push, set('tags', 'CREATE TABLE a (x TEXT)')), ['step 2 of "tags" is gone']);
  assert.deepEqual(now(set('tags', 'CREATE TABLE a (x TEXT)', 'DROP TABLE a')), ['step 1 of "push" is gone']);
  assert.deepEqual(
    now(push, set('tags', 'CREATE TABLE a (x TEXT)', 'DROP TABLE a', 'SELECT 1'), set('new', 'SELECT 2')),
    ['step 3 of "tags" is new and not listed yet', 'step 1 of "new" is new and not listed yet'],
  );
});
