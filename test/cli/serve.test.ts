import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { tempDir } from '../config/files.ts';
import { launch, type Running } from './processes.ts';

const WINDOWS = process.platform === 'win32' && 'signals do not reach a program gracefully on Windows';

function serve(t: TestContext, args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
  return launch(t, new URL('./small-server.ts', import.meta.url), ['serve', ...args], { env });
}

/** A configuration that lets the system choose the port and logs to standard output. */
function writeConfig(t: TestContext, text = '', serverName = 'home.example'): string {
  const file = join(tempDir(t), 'homeserver.yaml');
  const listeners = 'listeners: [{port: 0, bind_addresses: [127.0.0.1], resources: [{names: [client]}]}]';
  writeFileSync(file, `server_name: ${serverName}\n${listeners}\n${text}`);
  return file;
}

const READY = /http:\/\/127\.0\.0\.1:\d+/;

test('the first start makes a private data directory and prints addresses and setup link', {
  skip: WINDOWS,
}, async (t) => {
  const home = tempDir(t);
  const running = serve(t, ['--client-port', '0'], { XDG_DATA_HOME: home, LOCALAPPDATA: home, HOME: home });
  await running.until(/Set the server up at http:\/\/localhost\/setup/);
  await running.until(READY);
  running.child.kill('SIGTERM');
  assert.equal((await running.ended()).code, 0);
  const [, configFile = ''] = await running.until(/its configuration is (.*)/);
  const directory = join(configFile, '..');
  assert.ok(directory.startsWith(home));
  assert.equal(statSync(directory).mode & 0o777, 0o700);
  assert.equal(statSync(join(directory, 'localhost.signing.key')).mode & 0o777, 0o600);
  assert.match(readFileSync(join(directory, 'logs', 'hearth.log'), 'utf8'), /small server stopped/);
});

test('a later start takes the directory as it is, and shows the link only if asked', { skip: WINDOWS }, async (t) => {
  const directory = join(tempDir(t), 'data');
  const args = ['--data-dir', directory, '--server-name', 'home.example', '--client-port', '0'];
  const first = serve(t, args);
  await first.until(/The log is/);
  first.child.kill('SIGTERM');
  await first.ended();
  const config = readFileSync(join(directory, 'homeserver.yaml'), 'utf8');
  assert.match(config, /^server_name: "home\.example"$/m);

  const second = serve(t, ['--data-dir', directory]);
  await second.until(/The log is/);
  second.child.kill('SIGINT');
  const { code, out } = await second.ended();
  assert.equal(code, 0);
  assert.doesNotMatch(out, /was made|Set the server up/);
  assert.equal(readFileSync(join(directory, 'homeserver.yaml'), 'utf8'), config);

  const third = serve(t, ['--data-dir', directory, '--print-setup-link']);
  await third.until(/Set the server up/);
  third.child.kill('SIGTERM');
  assert.equal((await third.ended()).code, 0);
});

test('the pid file is there while the server runs', { skip: WINDOWS }, async (t) => {
  const pidFile = join(tempDir(t), 'run.pid');
  const log = join(tempDir(t), 'home.log');
  const running = serve(t, [
    '--config',
    writeConfig(t, `pid_file: ${JSON.stringify(pidFile)}\nhearth: {log_file: ${JSON.stringify(log)}}\n`),
  ]);
  await running.until(READY);
  assert.equal(readFileSync(pidFile, 'utf8').trim(), String(running.child.pid));
  running.child.kill('SIGTERM');
  assert.equal((await running.ended()).code, 0);
  assert.equal(existsSync(pidFile), false);
});

test('a pid file that cannot be written ends the start in one line', async (t) => {
  const pidFile = join(tempDir(t), 'none', 'run.pid');
  const { code, err } = await serve(t, ['--config', writeConfig(t, `pid_file: ${JSON.stringify(pidFile)}\n`)]).ended();
  assert.equal(code, 1);
  assert.match(err, /^The pid file .* cannot be written: there is no such file or directory\n$/);
});

test('with a configuration of its own the server logs to standard output', { skip: WINDOWS }, async (t) => {
  const running = serve(t, ['--config', writeConfig(t, 'report_stats: true\n')]);
  await running.until(/an option has no effect/);
  running.child.kill('SIGTERM');
  const { code, out } = await running.ended();
  assert.equal(code, 0);
  const lines = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.match(lines[0].option, /^report_stats /);
  assert.equal(lines[0].level, 'warn');
  assert.equal(lines.at(-1).msg, 'stopped');
});

test('SIGHUP begins the log file anew and reads certificates and the log level again', { skip: WINDOWS }, async (t) => {
  const log = join(tempDir(t), 'home.log');
  const hearth = (level: string): string => `hearth: {log_file: ${JSON.stringify(log)}, log_level: ${level}}\n`;
  const file = writeConfig(t, hearth('warn'));
  const running = serve(t, ['--config', file]);
  const [url = ''] = await running.until(READY);
  await fetch(url);
  assert.equal(readFileSync(log, 'utf8'), '');
  renameSync(log, `${log}.old`);
  writeFileSync(file, readFileSync(file, 'utf8').replace('log_level: warn', 'log_level: info'));
  running.child.kill('SIGHUP');
  // The file is opened, and the line written, in their own time.
  while (!existsSync(log) || !readFileSync(log, 'utf8').includes('reloaded')) await fetch(url);
  assert.match(readFileSync(log, 'utf8'), /certificates read[\s\S]*reloaded/);
  running.child.kill('SIGTERM');
  assert.equal((await running.ended()).code, 0);
});

test('a reload with a broken configuration changes nothing', { skip: WINDOWS }, async (t) => {
  const log = join(tempDir(t), 'home.log');
  const file = writeConfig(t, `hearth: {log_file: ${JSON.stringify(log)}}\n`);
  const running = serve(t, ['--config', file]);
  const [url = ''] = await running.until(READY);
  writeFileSync(file, 'server_name: [\n');
  running.child.kill('SIGHUP');
  while (!readFileSync(log, 'utf8').includes('goes on as before')) await fetch(url);
  assert.equal(await (await fetch(url)).text(), 'here');
  running.child.kill('SIGTERM');
  assert.equal((await running.ended()).code, 0);
});

test('a port that is taken is explained in one line', async (t) => {
  const other = createServer();
  other.listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.after(() => other.close());
  const address = other.address();
  assert.ok(address !== null && typeof address === 'object');
  const running = serve(t, ['--config', writeConfig(t), '--client-port', String(address.port)]);
  const { code, err } = await running.ended();
  assert.equal(code, 1);
  assert.equal(err.trimEnd().split('\n').length, 1);
  assert.match(err, new RegExp(`The server could not be started: .*${address.port}.*--client-port`));
});

test('an error that nobody has caught is logged, and ends the server with exit code 1', async (t) => {
  const log = join(tempDir(t), 'home.log');
  const pidFile = join(tempDir(t), 'run.pid');
  const text = `hearth: {log_file: ${JSON.stringify(log)}}\npid_file: ${JSON.stringify(pidFile)}\n`;
  const running = serve(t, ['--config', writeConfig(t, text, 'failing.example')]);
  const [url = ''] = await running.until(READY);
  await fetch(url);
  const { code, err } = await running.ended();
  assert.equal(code, 1);
  assert.equal(err, 'The server has failed: out of luck\n');
  assert.match(readFileSync(log, 'utf8'), /"msg":"uncaught error"/);
  assert.equal(existsSync(pidFile), false);
});

test('a configuration that is wrong or lacking ends the start with what is wrong', async (t) => {
  const file = writeConfig(t, 'allow_guest_access: maybe\n');
  const wrong = await serve(t, ['--config', file]).ended();
  assert.equal(wrong.code, 1);
  assert.equal(wrong.err, `${file}:3:21: allow_guest_access: expected true or false, found "maybe"\n`);
  const lacking = await serve(t, ['--config', `${file}.none`]).ended();
  assert.equal(lacking.code, 1);
  assert.match(lacking.err, /there is no such file or directory\n$/);
});
