import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { openDatabase } from '../../server/storage/database.ts';
import { jsonList } from '../../server/storage/sql.ts';
import { StorageError } from '../../server/storage/storage-error.ts';
import type { WriteTx } from '../../server/storage/types.ts';
import { silentLogger } from '../../server/util/log.ts';
import { notes, openNotes, recordingLogger, temporaryFolder } from './temporary.ts';

test('a write that throws loses its own changes and no others of the same turn', async (t) => {
  const { db, insert, add, bodies } = bound(openNotes(t));
  add('before');
  assert.throws(
    () =>
      db.write((tx) => {
        insert.run(tx, 'lost');
        throw new Error('changed my mind');
      }),
    /changed my mind/,
  );
  add('after');
  await db.committed();
  assert.deepEqual(bodies(), ['before', 'after']);
});

test('a broken constraint passes through as it is and leaves the turn whole', async (t) => {
  const { db, add, bodies } = bound(openNotes(t));
  add('one');
  assert.throws(() => add('one'), { code: 'SQLITE_CONSTRAINT_UNIQUE' });
  await db.committed();
  assert.deepEqual(bodies(), ['one']);
  assert.equal(db.health(), 'ok');
});

test('a nested write that fails may be caught, and the outer one goes on', async (t) => {
  const { db, insert, add, bodies } = bound(openNotes(t));
  const told: string[] = [];
  db.write((tx) => {
    insert.run(tx, 'outer');
    tx.onCommit(() => told.push('outer'));
    db.write((inner) => {
      insert.run(inner, 'kept');
      inner.onCommit(() => told.push('kept'));
    });
    assert.throws(() =>
      db.write((inner) => {
        insert.run(inner, 'dropped');
        inner.onCommit(() => told.push('dropped'));
        inner.onRollback(() => told.push('undone'));
        add('one');
        add('one');
      }),
    );
  });
  await db.committed();
  assert.deepEqual(bodies(), ['outer', 'kept']);
  assert.deepEqual(told, ['undone', 'outer', 'kept']);
});

test('a WriteTx is worth nothing after its write, inside a nested one, or with another database', async (t) => {
  const here = openNotes(t);
  const there = openNotes(t);
  let kept: WriteTx | undefined;
  here.db.write((tx) => {
    kept = tx;
    here.db.write(() => assert.throws(() => here.insert.run(tx, 'x'), /outside of its write/));
    there.db.write(() => assert.throws(() => there.insert.run(tx, 'x'), /outside of its write/));
  });
  const late = kept;
  assert.ok(late !== undefined);
  assert.throws(() => here.insert.run(late, 'x'), /outside of its write/);
  assert.throws(() => late.nextPosition(), /outside of its write/);
  assert.throws(() => late.touch('user:@anna:home'), /outside of its write/);
  assert.throws(() => late.onCommit(() => {}), /outside of its write/);
  assert.throws(() => late.onRollback(() => {}), /outside of its write/);
});

test('a write that returns a Promise is refused and undone', async (t) => {
  const { db, insert, bodies } = bound(openNotes(t));
  const change: (tx: WriteTx) => unknown = async (tx) => {
    insert.run(tx, 'early');
    await Promise.resolve();
    insert.run(tx, 'late');
  };
  assert.throws(() => db.write((tx) => change(tx) as object), /must not return a Promise/);
  await db.committed();
  assert.deepEqual(bodies(), []);
});

test('the writes of one turn share one commit, and nobody is answered before it', async (t) => {
  const { db, add, commits } = bound(openNotes(t));
  const start = commits();
  const answers: number[] = [];
  for (let request = 0; request < 20; request += 1) {
    add(`note ${request}`);
    void db.committed().then(() => answers.push(commits() - start));
  }
  assert.equal(commits(), start);
  await db.committed();
  assert.deepEqual(answers, Array(20).fill(1));
  add('next turn');
  await db.committed();
  assert.equal(commits() - start, 2);
});

test('committed resolves at once when nothing waits', async (t) => {
  const { db } = openNotes(t);
  let settled = false;
  void db.committed().then(() => {
    settled = true;
  });
  await Promise.resolve();
  assert.ok(settled);
});

test('those who subscribe are told once per commit, with every key touched and how far the stream is', async (t) => {
  const { db } = openNotes(t);
  const told: [number, string[]][] = [];
  const subscription = db.subscribe((now, keys) => told.push([now, [...keys].sort()]));
  const order: string[] = [];
  db.subscribe(() => order.push('told'));
  db.write((tx) => {
    tx.touch('user:@anna:home');
    tx.touch('room:!kitchen');
    assert.equal(tx.nextPosition(), 1);
    tx.onCommit(() => order.push('onCommit'));
  });
  assert.throws(() =>
    db.write((tx) => {
      tx.touch('user:@nobody:home');
      throw new Error('no');
    }),
  );
  db.write((tx) => {
    tx.touch('user:@anna:home');
    tx.nextPosition();
  });
  db.advance(['room:!garden']);
  assert.deepEqual(told, []);
  await db.committed();
  assert.deepEqual(told, [[3, ['room:!garden', 'room:!kitchen', 'user:@anna:home']]]);
  assert.deepEqual(order, ['onCommit', 'told']);
  subscription.unsubscribe();
  db.advance([]);
  await db.committed();
  assert.equal(told.length, 1);
  assert.equal(order.length, 3);
});

test('a write that neither moves the stream nor touches anything wakes nobody', async (t) => {
  const { db, add } = bound(openNotes(t));
  let calls = 0;
  db.subscribe(() => {
    calls += 1;
  });
  add('quiet');
  await db.committed();
  assert.equal(calls, 0);
});

test('a listener or an action that throws does not keep the others from running', async (t) => {
  const log = recordingLogger();
  const { db } = openNotes(t, { log });
  const ran: string[] = [];
  db.subscribe(() => assert.fail('broken listener'));
  db.subscribe(() => ran.push('listener'));
  db.write((tx) => {
    tx.nextPosition();
    tx.onCommit(() => assert.fail('broken action'));
    tx.onCommit(() => ran.push('action'));
  });
  await db.committed();
  assert.deepEqual(ran, ['action', 'listener']);
  assert.equal(log.sentences.filter((line) => line === 'an action after a commit or rollback failed').length, 2);
});

test('what a commit sets off may write again, in a transaction of its own', async (t) => {
  const { db, insert, add, bodies, commits } = bound(openNotes(t));
  const start = commits();
  let second: Promise<void> | undefined;
  db.write((tx) => {
    insert.run(tx, 'first');
    tx.onCommit(() => {
      add('second');
      second = db.committed();
    });
  });
  await db.committed();
  assert.equal(commits() - start, 1);
  await second;
  assert.equal(commits() - start, 2);
  assert.deepEqual(bodies(), ['first', 'second']);
});

test('advance moves the stream without touching the disk', async (t) => {
  const { db, commits, add } = bound(openNotes(t));
  add('reserves positions on the way');
  await db.committed();
  const start = commits();
  for (let i = 0; i < 100; i += 1) {
    db.advance(['room:!kitchen']);
    await db.committed();
  }
  assert.equal(commits(), start);
});

test('after a clean close the stream goes on with the next number', async (t) => {
  const { db, path } = openNotes(t);
  for (let i = 0; i < 2_500; i += 1) db.advance([]);
  await db.close();
  const again = openNotes(t, { path });
  assert.equal(again.db.position(), 2_500);
  assert.equal(
    again.db.write((tx) => tx.nextPosition()),
    2_501,
  );
});

test('a closed database says so, and closing commits what was waiting', async (t) => {
  const { db, path, insert, add, bodies } = bound(openNotes(t));
  add('last words');
  const waiting = db.committed();
  await db.close();
  await waiting;
  await db.close();
  const closed = { name: 'StorageError', kind: 'closed' };
  assert.throws(() => db.write((tx) => void insert.run(tx, 'x')), closed);
  assert.throws(() => bodies(), closed);
  assert.throws(() => db.prepareRead('SELECT 1'), closed);
  assert.throws(() => db.advance([]), closed);
  assert.deepEqual(db.health(), { problem: 'the database is closed' });
  assert.deepEqual(openNotes(t, { path }).bodies(), ['last words']);
  assert.ok(!existsSync(`${path}-journal`));
});

test('statements are held to what they were prepared for', (t) => {
  const { db } = openNotes(t);
  assert.throws(() => db.prepareRead('DELETE FROM notes'), TypeError);
  assert.throws(() => db.prepareRead("INSERT INTO notes (body) VALUES ('x') RETURNING id"), TypeError);
  assert.throws(() => db.prepareWrite('SELECT 1'), TypeError);
  assert.throws(() => db.prepareWrite('COMMIT'), TypeError);
  assert.throws(() => db.prepareWrite("INSERT INTO notes (body) VALUES ('x') RETURNING id"), TypeError);
  assert.throws(() => db.prepareReturning('SELECT 1'), TypeError);
  assert.throws(() => db.prepareRead('SELECT title FROM notes'), /no such column/);
});

test('statements give what SQLite gives', (t) => {
  const { db, insert } = openNotes(t);
  const longNotes = db.prepareReturning<{ id: number }>('DELETE FROM notes WHERE length(body) > ? RETURNING id');
  const some = db.prepareRead<{ body: string }>('SELECT body FROM notes WHERE id IN (SELECT value FROM json_each(?))');
  db.write((tx) => {
    assert.deepEqual(insert.run(tx, 'short'), { changes: 1, lastId: 1 });
    assert.deepEqual(insert.run(tx, 'rather long'), { changes: 1, lastId: 2 });
    assert.deepEqual(insert.run(tx, 'longer even than that'), { changes: 1, lastId: 3 });
    assert.deepEqual(some.list(jsonList([1, 3, 9])), [{ body: 'short' }, { body: 'longer even than that' }]);
    assert.equal(some.find(jsonList([])), undefined);
    assert.deepEqual(longNotes.find(tx, 8), { id: 2 });
    assert.deepEqual(longNotes.list(tx, 4), [{ id: 1 }]);
  });
});

test('the database file may be read by its owner only', { skip: process.platform === 'win32' }, async (t) => {
  const { path, add, db } = bound(openNotes(t));
  add('secret');
  await db.committed();
  for (const file of [path, `${path}-wal`, `${path}-shm`, `${path}.lock`]) {
    assert.equal(statSync(file).mode & 0o777, 0o600, file);
  }
});

test('a database in memory works like one on disk, and two of them do not meet', async (t) => {
  const { db, add, bodies } = bound(openNotes(t, { path: ':memory:' }));
  const other = openNotes(t, { path: ':memory:' });
  add('gone tomorrow');
  await db.committed();
  assert.deepEqual(bodies(), ['gone tomorrow']);
  assert.deepEqual(other.bodies(), []);
});

test('a second server cannot open the database while the first one runs', async (t) => {
  const { db, path } = openNotes(t);
  const open = (): unknown => openDatabase({ path, migrations: [notes], log: silentLogger });
  assert.throws(open, { name: 'StorageError', kind: 'locked', message: /already using this database/ });
  // Nor can one in another process, the attempt just made notwithstanding.
  assert.equal(await openElsewhere(path), 'locked');
  await db.close();
  assert.equal(await openElsewhere(path), 'opened');
  openNotes(t, { path });
});

test('a folder that does not exist is named in the error', (t) => {
  const path = join(temporaryFolder(t), 'nowhere', 'homeserver.db');
  assert.throws(
    () => openDatabase({ path, migrations: [], log: silentLogger }),
    (error) => error instanceof StorageError && error.kind === 'io' && error.message.includes(path),
  );
});

interface Step {
  readonly fails: boolean;
  readonly caught: boolean;
  readonly inner: readonly Step[];
}

test('whatever writes are nested and fail, rows and the caches that follow rollbacks agree', async (t) => {
  const { db, insert, bodies } = bound(openNotes(t, { path: ':memory:' }));
  const { step } = fc.letrec<{ step: Step }>((tie) => ({
    step: fc.record({
      fails: fc.boolean(),
      caught: fc.boolean(),
      inner: fc.oneof({ depthSize: 'small' }, fc.constant([]), fc.array(tie('step'), { maxLength: 3 })),
    }),
  }));
  const cache = new Set<string>();
  const committed = new Set<string>();
  let serial = 0;
  const run = ({ fails, caught, inner }: Step): void => {
    try {
      db.write((tx) => {
        const body = `row ${(serial += 1)}`;
        insert.run(tx, body);
        cache.add(body);
        tx.onRollback(() => cache.delete(body));
        tx.onCommit(() => committed.add(body));
        for (const one of inner) run(one);
        if (fails) throw new Error('as planned');
      });
    } catch (error) {
      if (!caught) throw error;
    }
  };
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 4 }), async (turn) => {
      for (const one of turn) run({ ...one, caught: true });
      await db.committed();
      assert.deepEqual(new Set(bodies()), cache);
      assert.deepEqual(committed, cache);
    }),
    { numRuns: 200 },
  );
});

/** Opens and closes the database in a process of its own: `opened`, or the kind of the error. */
async function openElsewhere(path: string): Promise<string> {
  const script = fileURLToPath(new URL('open-child.ts', import.meta.url));
  const child = spawn(process.execPath, [script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  return (await text(child.stdout)).trim();
}

// The methods of a `Notes`, free of their object.
function bound(made: ReturnType<typeof openNotes>) {
  return {
    db: made.db,
    path: made.path,
    insert: made.insert,
    remove: made.remove,
    add: (body: string) => made.add(body),
    bodies: () => made.bodies(),
    commits: () => made.commits(),
  };
}

test('a database that belongs to one server is refused by another', async (t) => {
  const { db, path } = openNotes(t, { owner: 'home.test' });
  await db.close();
  const options = { path, migrations: [notes], log: silentLogger };
  assert.throws(
    () => openDatabase({ ...options, owner: 'elsewhere.test' }),
    (error) => error instanceof StorageError && error.kind === 'foreign' && error.message.includes('home.test'),
  );
  const again = openDatabase({ ...options, owner: 'home.test' });
  await again.close();
});
