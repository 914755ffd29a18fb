import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { hearth, launch, type Running } from '../cli/processes.ts';
import { tempDir } from '../config/files.ts';
import { eventually } from '../kit/test-network.ts';

const CLI = new URL('../../server/cli.ts', import.meta.url);
const WINDOWS = process.platform === 'win32' && 'signals do not reach a program gracefully on Windows';

function start(t: TestContext, dataDir: string, ...args: string[]): Running {
  return launch(t, CLI, ['start', '--data-dir', dataDir, '--client-port', '0', '--control-port', '0', ...args]);
}

interface Control {
  readonly url: string;
  readonly token: string;
}

function control(dataDir: string): Control {
  return JSON.parse(readFileSync(join(dataDir, 'control.json'), 'utf8')) as Control;
}

async function ask(
  { url, token }: Control,
  method: string,
  path: string,
  body?: object,
): Promise<Record<string, unknown>> {
  const response = await fetch(`${url}/_hearth/control${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return (await response.json()) as Record<string, unknown>;
}

async function isReady(dataDir: string): Promise<Control> {
  await eventually('the homeserver runs', async () => {
    const { line } = await ask(control(dataDir), 'GET', '/status');
    return line !== 'starting';
  });
  return control(dataDir);
}

test('the program prints a link that opens its page once, and leaves nothing behind when it ends', {
  skip: WINDOWS,
}, async (t) => {
  const dataDir = join(tempDir(t), 'data');
  const running = start(t, dataDir);
  const [, url = '', secret = ''] = await running.until(/Open (http:\/\/127\.0\.0\.1:\d+)\/#\/link\/([\w-]{40,})/);
  const own = await isReady(dataDir);
  assert.equal(own.url, url);
  assert.equal(statSync(join(dataDir, 'control.json')).mode & 0o777, 0o600);
  assert.equal(readFileSync(join(dataDir, 'homeserver.pid'), 'utf8').trim(), String(running.child.pid));
  const open = async (link: string): Promise<{ status: number; token: string }> => {
    const response = await fetch(`${url}/_hearth/control/session`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ link }),
    });
    return { status: response.status, token: ((await response.json()) as { token: string }).token };
  };
  const session = await open(secret);
  assert.equal(session.status, 200);
  assert.equal((await open(secret)).status, 403);

  const more = await hearth(t, ['link', '--data-dir', dataDir]);
  assert.equal(more.code, 0, more.err);
  const [, another = ''] = /#\/link\/([\w-]+)\n$/.exec(more.out) ?? [];
  assert.equal((await open(another)).status, 200);
  const refused = await ask({ url, token: session.token }, 'POST', '/links');
  assert.equal(refused['errcode'], 'M_FORBIDDEN', 'a session makes no links for others');

  running.child.kill('SIGTERM');
  assert.equal((await running.ended()).code, 0);
  assert.equal(existsSync(join(dataDir, 'control.json')), false);
  assert.equal(existsSync(join(dataDir, 'homeserver.pid')), false);
  const none = await hearth(t, ['link', '--data-dir', dataDir]);
  assert.equal(none.code, 1);
  assert.match(none.err, /No Hearth with an interface runs/);
});

test('a second start on the same data points at the first one, and does not disturb it', {
  skip: WINDOWS,
}, async (t) => {
  const dataDir = join(tempDir(t), 'data');
  const first = start(t, dataDir);
  await first.until(/Open /);
  await isReady(dataDir);
  const second = await start(t, dataDir).ended();
  assert.equal(second.code, 1);
  assert.match(second.err, /runs on .* already\. Open http:\/\/127\.0\.0\.1:\d+\/#\/link\/[\w-]+\n/);
  assert.equal(readFileSync(join(dataDir, 'homeserver.pid'), 'utf8').trim(), String(first.child.pid));
  assert.equal((await ask(control(dataDir), 'GET', '/status'))['line'], 'setup');
});

test('what a killed program left behind is no obstacle', { skip: WINDOWS }, async (t) => {
  const dataDir = join(tempDir(t), 'data');
  const first = start(t, dataDir);
  await first.until(/Open /);
  await isReady(dataDir);
  first.child.kill('SIGKILL');
  await once(first.child, 'exit');
  assert.ok(existsSync(join(dataDir, 'control.json')));
  const second = start(t, dataDir);
  await second.until(/Open /);
  assert.equal((await ask(await isReady(dataDir), 'GET', '/status'))['line'], 'setup');
  assert.equal(readFileSync(join(dataDir, 'homeserver.pid'), 'utf8').trim(), String(second.child.pid));
});

test('a mistake in the configuration keeps the server from starting, not the page that explains it', {
  skip: WINDOWS,
}, async (t) => {
  const dataDir = join(tempDir(t), 'data');
  assert.equal((await hearth(t, ['generate-config', '--server-name', 'home.example', '--data-dir', dataDir])).code, 0);
  const file = join(dataDir, 'homeserver.yaml');
  writeFileSync(file, `${readFileSync(file, 'utf8')}\nlisteners: [\n`);
  const running = start(t, dataDir);
  await running.until(/Open /);
  const status = await ask(await isReady(dataDir), 'GET', '/status');
  assert.equal(status['line'], 'failed');
  assert.match(JSON.stringify(status['reasons']), /homeserver\.yaml:\d+:\d+/);
  running.child.kill('SIGTERM');
  assert.equal((await running.ended()).code, 0);
});

test('neither a log nor files for other programs that cannot be written keep the page from coming up', {
  skip: WINDOWS,
}, async (t) => {
  const dataDir = join(tempDir(t), 'data');
  assert.equal((await hearth(t, ['generate-config', '--server-name', 'home.example', '--data-dir', dataDir])).code, 0);
  // Where a file is to be there is a folder, and the other way round: that stops even those who may do everything.
  writeFileSync(join(dataDir, 'logs'), '');
  mkdirSync(join(dataDir, 'control.json', 'something'), { recursive: true });
  const running = start(t, dataDir);
  const [, url = '', link = ''] = await running.until(/Open (http:\/\/127\.0\.0\.1:\d+)\/#\/link\/([\w-]{40,})/);
  const response = await fetch(`${url}/_hearth/control/session`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ link }),
  });
  const { token } = (await response.json()) as { token: string };
  await eventually(
    'the homeserver runs',
    async () => (await ask({ url, token }, 'GET', '/status'))['line'] === 'setup',
  );
  running.child.kill('SIGTERM');
  const { code, out } = await running.ended();
  assert.equal(code, 0);
  assert.match(out, /the log file cannot be opened/);
});

/** One server, of one name, that one person runs; and setting it up is over. */
async function isWholeAndFinal(control: Control): Promise<void> {
  const { isDone, nameIsFinal, draft } = await ask(control, 'GET', '/setup');
  assert.deepEqual([isDone, nameIsFinal], [true, true]);
  assert.equal((draft as { serverName: string }).serverName, 'hearth.home.arpa');
  const { people } = (await ask(control, 'GET', '/people')) as { people: { userId: string; isAdmin: boolean }[] };
  assert.deepEqual(
    people.map(({ userId, isAdmin }) => [userId, isAdmin]),
    [['@nora:hearth.home.arpa', true]],
  );
  const second = { username: 'mallory', password: 'a quiet evening' };
  assert.equal((await ask(control, 'POST', '/setup/finish', second))['errcode'], 'M_FORBIDDEN');
  const another = { reach: 'home', serverName: 'other.home.arpa' };
  assert.equal((await ask(control, 'PUT', '/setup', another))['errcode'], 'M_FORBIDDEN');
}

test('killed between the steps, setting up goes on where it was; killed right after the last one, it is over', {
  skip: WINDOWS,
}, async (t) => {
  const dataDir = join(tempDir(t), 'data');
  const first = start(t, dataDir);
  await first.until(/Open /);
  const before = await isReady(dataDir);
  assert.equal((await ask(before, 'GET', '/setup'))['nameIsFinal'], false);
  const answers = { reach: 'domain', serverName: 'first.example', publicUrl: 'https://chat.first.example' };
  await ask(before, 'PUT', '/setup', answers);
  first.child.kill('SIGKILL');
  await once(first.child, 'exit');

  const second = start(t, dataDir);
  await second.until(/Open /);
  const between = await isReady(dataDir);
  const { isDone, nameIsFinal, draft } = await ask(between, 'GET', '/setup');
  assert.deepEqual([isDone, nameIsFinal, draft], [false, false, answers]);
  assert.equal((await ask(between, 'GET', '/status'))['line'], 'setup');
  // Nothing is final yet: it may become another one.
  await ask(between, 'PUT', '/setup', { reach: 'home', serverName: 'hearth.home.arpa' });
  const account = { username: 'nora', password: 'a quiet evening' };
  const done = await ask(between, 'POST', '/setup/finish', account);
  assert.equal(done['userId'], '@nora:hearth.home.arpa', JSON.stringify(done));
  second.child.kill('SIGKILL');
  await once(second.child, 'exit');

  const third = start(t, dataDir);
  await third.until(/Open /);
  const after = await isReady(dataDir);
  assert.equal((await ask(after, 'GET', '/status'))['line'], 'network-only');
  await isWholeAndFinal(after);
  assert.equal((await ask(after, 'GET', '/connect'))['userId'], '@nora:hearth.home.arpa');
  third.child.kill('SIGTERM');
  assert.equal((await third.ended()).code, 0);
});

test('killed at any moment of the last step, setting up can be done again', { skip: WINDOWS }, async (t) => {
  const account = { username: 'nora', password: 'a quiet evening' };
  const moments: readonly (readonly [string, (dataDir: string) => boolean | Promise<boolean>])[] = [
    ['before anything was done', () => true],
    ['the new key is there', (dataDir) => existsSync(join(dataDir, 'hearth.home.arpa.signing.key'))],
    ['the old database is set aside', (dataDir) => existsSync(join(dataDir, 'homeserver.db.unused'))],
    [
      'the new configuration is there',
      (dataDir) => readFileSync(join(dataDir, 'homeserver.yaml'), 'utf8').includes('arpa'),
    ],
    [
      'the new database is there',
      (dataDir) => existsSync(join(dataDir, 'homeserver.db.unused')) && existsSync(join(dataDir, 'homeserver.db')),
    ],
    [
      'the account is there, and maybe nobody has been told',
      async (dataDir) => (await ask(control(dataDir), 'GET', '/status'))['line'] === 'network-only',
    ],
  ];
  for (const [moment, hasCome] of moments) {
    const dataDir = join(tempDir(t), 'data');
    const first = start(t, dataDir);
    await first.until(/Open /);
    const own = await isReady(dataDir);
    await ask(own, 'PUT', '/setup', { reach: 'home', serverName: 'hearth.home.arpa' });
    const finishing = ask(own, 'POST', '/setup/finish', account).catch(() => undefined);
    // Nothing is waited for but the moment itself.
    while (!(await hasCome(dataDir))) await new Promise((resolve) => setImmediate(resolve));
    first.child.kill('SIGKILL');
    await Promise.all([once(first.child, 'exit'), finishing]);

    const second = start(t, dataDir);
    await second.until(/Open /);
    const again = await isReady(dataDir);
    const { line } = await ask(again, 'GET', '/status');
    assert.ok(line === 'setup' || line === 'network-only', `${moment}: ${String(line)}`);
    if (line === 'setup') {
      const setup = await ask(again, 'GET', '/setup');
      assert.equal(
        (setup['draft'] as { serverName: string }).serverName,
        'hearth.home.arpa',
        'the answers are still there',
      );
      assert.equal(setup['nameIsFinal'], false, 'nobody has an account of that name');
      const done = await ask(again, 'POST', '/setup/finish', account);
      assert.equal(done['userId'], '@nora:hearth.home.arpa', `${moment}: ${JSON.stringify(done)}`);
    }
    const session = await fetch(`${again.url}/_hearth/control/session`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(account),
    });
    assert.equal(session.status, 200, moment);
    await isWholeAndFinal(again);
    second.child.kill('SIGKILL');
    await once(second.child, 'exit');
  }
});
