import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { finishRestore } from '../../server/appliance/backups/swap.ts';
import { loadConfig } from '../../server/config/config.ts';
import { launch } from '../cli/processes.ts';
import { makeAuthority } from '../kit/certificates.ts';
import { TestAppliance } from './appliance-kit.ts';
import { backUp, makeHouse, PASSPHRASE, restore, temporary, treeOf } from './backups-kit.ts';

const CLI = new URL('../../server/cli.ts', import.meta.url);
const DIE = fileURLToPath(new URL('swap-and-die.ts', import.meta.url));
const env = { HEARTH_PASSPHRASE: PASSPHRASE };

/** The files that a backup puts in place, as they are now. */
function contentOf(dataDir: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(treeOf(dataDir)).filter(
      ([name]) => !/^(restore|home\.test\.before-restore|homeserver\.pid)/.test(name),
    ),
  );
}

test('a restoration that is killed at any step ends as the old server or as the new one', async (t) => {
  await using source = await makeHouse('home.test', 1_000);
  await using target = await makeHouse('other.test', 1_000);
  const directory = temporary(t);
  const path = join(directory, 'good.hearthbackup');
  await backUp(source.dataDir, path);
  // An old server that had crashed: what is in its journal must not get into the new database.
  writeFileSync(join(target.dataDir, 'homeserver.db-wal'), 'old');
  const old = contentOf(target.dataDir);

  // What a restoration unpacks, caught when it is about to be put in its place.
  const staged = join(directory, 'staged');
  await assert.rejects(
    restore(path, target.dataDir, {
      progress: (_share, step) => {
        if (step !== 'Putting everything in its place') return;
        const [name = ''] = readdirSync(join(target.dataDir, 'restore'));
        cpSync(join(target.dataDir, 'restore', name), staged, { recursive: true });
        throw new Error('caught');
      },
    }),
    /caught/,
  );
  assert.deepEqual(contentOf(target.dataDir), old);

  let sawOld = 0;
  let sawNew = 0;
  for (let step = 1; ; step += 1) {
    const dataDir = join(directory, `run-${step}`);
    cpSync(target.dataDir, dataDir, { recursive: true });
    mkdirSync(join(dataDir, 'restore'));
    // The name says whose it is: nobody's that still runs.
    cpSync(staged, join(dataDir, 'restore', '999999999-abc'), { recursive: true });
    const run = spawnSync(process.execPath, [DIE, dataDir, '999999999-abc', String(step)], { encoding: 'utf8' });
    assert.ok(existsSync(join(dataDir, 'homeserver.yaml')), 'there is a configuration at any time');
    const finished = finishRestore(dataDir);
    const now = contentOf(dataDir);
    assert.ok(!existsSync(join(dataDir, 'restore')), `step ${step}`);
    if (JSON.stringify(now) === JSON.stringify(old)) {
      assert.equal(finished, undefined);
      sawOld += 1;
    } else {
      assert.equal(now['homeserver.db'], contentOf(staged)['homeserver.db']);
      assert.equal(now['homeserver.yaml'], contentOf(staged)['homeserver.yaml']);
      assert.equal(now['homeserver.db-wal'], undefined);
      const kept = treeOf(join(dataDir, 'home.test.before-restore'));
      for (const name of ['homeserver.db', 'homeserver.yaml', 'homeserver.db-wal'])
        assert.equal(kept[name], old[name], name);
      sawNew += 1;
    }
    rmSync(dataDir, { recursive: true, force: true });
    if (run.stdout === 'done\n') break;
    assert.equal(run.signal, 'SIGKILL', run.stderr);
  }
  assert.ok(sawOld >= 2 && sawNew >= 8, `${sawOld} times the old one, ${sawNew} times the new one`);
});

test('a server that is started after an interrupted restoration finishes it first, and says so', async (t) => {
  await using source = await makeHouse('home.test', 1_000);
  const directory = temporary(t);
  const path = join(directory, 'good.hearthbackup');
  const dataDir = join(directory, 'data');
  await backUp(source.dataDir, path);
  await restore(path, dataDir);
  // As if it had been ended right after it was decided.
  mkdirSync(join(dataDir, 'restore', '999999999-abc'), { recursive: true });
  for (const name of ['homeserver.yaml', 'homeserver.db', 'home.test.signing.key', 'media']) {
    renameSync(join(dataDir, name), join(dataDir, 'restore', '999999999-abc', name));
  }
  const plan = {
    server_name: 'home.test',
    staged: '999999999-abc',
    kept: 'home.test.before-restore',
    entries: ['home.test.signing.key', 'media', 'homeserver.db', 'homeserver.yaml'],
  };
  writeFileSync(join(dataDir, 'restore', 'plan.json'), JSON.stringify(plan));
  const serving = launch(t, CLI, ['serve', '--data-dir', dataDir, '--client-port', '0']);
  await serving.until(/interrupted is finished: .* now holds the backup of home\.test/);
  await serving.until(/Clients connect to/);
  serving.child.kill('SIGTERM');
  assert.equal((await serving.ended()).code, 0);
});

test('a backup that is killed leaves no file that looks like one, and the next one clears up after it', async (t) => {
  await using source = await makeHouse('home.test', 40_000_000);
  const directory = temporary(t);
  const output = join(directory, 'hearth-home.test-x.hearthbackup');
  const args = ['backup', '--data-dir', source.dataDir, '--output', output];
  const killed = launch(t, CLI, args, { env });
  while (!readdirSync(directory).some((name) => name.endsWith('.part'))) {
    assert.equal(killed.child.exitCode, null, killed.output.err);
    await new Promise((resolve) => setImmediate(resolve));
  }
  killed.child.kill('SIGKILL');
  await killed.ended();
  assert.ok(!existsSync(output));
  assert.equal(readdirSync(join(source.dataDir, 'backup-work')).length, 1);
  const done = await launch(t, CLI, args, { env }).ended();
  assert.equal(done.code, 0, done.err);
  assert.equal(done.out.trim(), output);
  assert.deepEqual(readdirSync(join(source.dataDir, 'backup-work')), []);
  assert.deepEqual(readdirSync(directory), ['hearth-home.test-x.hearthbackup']);
});

test('the command line backs up a running server, restores it elsewhere, and replaces nothing unasked', async (t) => {
  await using house = await TestAppliance.start({ serverName: 'home.test' });
  const directory = temporary(t);
  const secret = join(directory, 'passphrase');
  writeFileSync(secret, `${PASSPHRASE}\n`, { mode: 0o600 });
  const made = await launch(t, CLI, ['backup', '--data-dir', house.dataDir, '-o', directory], { env }).ended();
  assert.equal(made.code, 0, made.err);
  const file = made.out.trim();
  assert.match(file, /hearth-home\.test-.*\.hearthbackup$/);

  const dataDir = join(directory, 'new');
  const run = (...more: string[]) => launch(t, CLI, ['restore', file, ...more], {}).ended();
  const restored = await run('--data-dir', dataDir, '--passphrase-file', secret);
  assert.equal(restored.code, 0, restored.err);
  assert.match(restored.out, /holds home\.test as it was on/);
  assert.equal(
    readFileSync(join(dataDir, 'home.test.signing.key'), 'utf8'),
    readFileSync(join(house.dataDir, 'home.test.signing.key'), 'utf8'),
  );
  const again = await run('--data-dir', dataDir, '--passphrase-file', secret);
  assert.deepEqual([again.code, /--replace/.test(again.err)], [1, true]);
  const running = await run('--data-dir', house.dataDir, '--passphrase-file', secret, '--replace');
  assert.equal(running.code, 1);
  assert.match(running.err, /already using this database/);
  assert.equal(house.appliance.keeper.state.kind, 'running');
  writeFileSync(secret, 'a wrong one');
  const wrong = await run('--data-dir', join(directory, 'third'), '--passphrase-file', secret);
  assert.deepEqual(
    [wrong.code, wrong.err.trim()],
    [1, 'The passphrase is wrong, or the beginning of the file is damaged'],
  );
  assert.deepEqual(readdirSync(join(directory, 'third')), []);
  const replaced = await launch(t, CLI, ['restore', file, '--data-dir', dataDir, '--replace'], { env }).ended();
  assert.equal(replaced.code, 0, replaced.err);
  assert.match(replaced.out, /What was there before is in .*home\.test\.before-restore/);
});

test('a server of several configuration files, somewhere else, is backed up by them, and is one with one file afterwards', async (t) => {
  await using house = await makeHouse('home.test', 1_000);
  const directory = temporary(t);
  const secret = join(directory, 'passphrase');
  writeFileSync(secret, `${PASSPHRASE}\n`, { mode: 0o600 });
  const [base, extra] = [join(directory, 'etc'), join(directory, 'extra')];
  for (const folder of [base, extra]) mkdirSync(folder);
  writeFileSync(
    join(base, 'a.yaml'),
    [
      'server_name: home.test',
      'max_upload_size: 10M',
      `signing_key_path: ${join(house.dataDir, 'signing.key')}`,
      `media_store_path: ${join(house.dataDir, 'media')}`,
      `database: { name: sqlite3, args: { database: ${join(house.dataDir, 'homeserver.db')} } }`,
      'federation_custom_ca_list: [of-a.pem]',
      'listeners: [{ port: 0, bind_addresses: [127.0.0.1], resources: [{ names: [client] }] }]',
    ].join('\n'),
  );
  writeFileSync(join(extra, 'b.yaml'), 'max_upload_size: 77M\nfederation_custom_ca_list: [ca.pem] # of the office\n');
  const { cert } = await makeAuthority();
  writeFileSync(join(extra, 'ca.pem'), cert);
  const files = ['--config', base, '--config', join(extra, 'b.yaml')];
  const target = join(directory, 'backups');
  const made = await launch(t, CLI, ['backup', ...files, '-o', target], { env }).ended();
  assert.equal(made.code, 0, made.err);
  const dataDir = join(directory, 'new');
  const back = await launch(t, CLI, ['restore', made.out.trim(), '--data-dir', dataDir], { env }).ended();
  assert.equal(back.code, 0, back.err);
  const { config } = loadConfig({ dataDir });
  assert.deepEqual([config.serverName, config.media.maxUploadBytes], ['home.test', 77 * 2 ** 20]);
  assert.equal(config.databasePath, join(dataDir, 'homeserver.db'));
  assert.equal(readFileSync(join(dataDir, 'files', 'ca.pem'), 'utf8'), cert);
  assert.match(readFileSync(join(dataDir, 'homeserver.yaml'), 'utf8'), /files\/ca\.pem/);
  assert.equal(
    readFileSync(join(dataDir, 'home.test.signing.key'), 'utf8'),
    readFileSync(join(house.dataDir, 'signing.key'), 'utf8'),
  );
  const both = await launch(t, CLI, ['backup', ...files, '--data-dir', dataDir], { env }).ended();
  assert.match(both.err, /either --config or --data-dir can be given/);
});
