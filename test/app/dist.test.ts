import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { existsSync, globSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { after, before, test } from 'node:test';
import { type Configuration, Packager } from 'electron-builder';
import { dist, type Made, readConfiguration } from '../../build/dist.ts';
import { type Packed, readAsar, unpackAsar } from './asar.ts';
import { launch, soon } from './driver.ts';

const root = join(import.meta.dirname, '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'hearth-dist-'));
const { privateKey } = generateKeyPairSync('ed25519');
let made: Made;
let resources: string;
let packed: Packed[];
/** What is inside the package, as the program in it sees it. */
const inside = join(folder, 'inside');

before(async () => {
  made = await dist({
    output: join(folder, 'dist'),
    feed: 'https://updates.example.org/hearth',
    signKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  });
  const unpacked = readdirSync(made.output).find((name) => name.endsWith('-unpacked') || name.startsWith('mac'));
  assert.ok(unpacked !== undefined, 'the unpacked program is there');
  resources = join(made.output, unpacked, 'resources');
  packed = readAsar(join(resources, 'app.asar'));
  unpackAsar(join(resources, 'app.asar'), inside);
  console.log(`The package holds ${made.hasRuntime ? "Electron's own runtime" : "a stand-in for Electron's runtime"}.`);
  for (const each of made.leftOut) console.log(`Not made here: ${each}`);
});
after(() => rmSync(folder, { recursive: true, force: true }));

test('the package holds what runs and nothing else', () => {
  const paths = packed.map(({ path }) => path);
  for (const needed of [
    'package.json',
    'main/main.js',
    'main/preload.cjs',
    'server/cli.js',
    'server/cli/start-for-shell.js',
    'server/modules/content-repository/thumbnailer/worker.js',
    'server/appliance-ports/copy-worker.js',
    'build/renderer/index.html',
    'build/icons/tray-online-light.png',
    'build/icons/tray-online-light.ico',
    'build/icons/hearth-256.png',
    'assets/templates/notif_mail.html',
    'node_modules/minijinja-js/dist/node/minijinja_js_bg.wasm',
  ]) {
    assert.ok(paths.includes(needed), `${needed} is missing`);
  }
  assert.ok(
    paths.some((path) => /^build\/renderer\/assets\/.+\.js$/.test(path)),
    'the interface is built',
  );
  // What a part of the server starts by its path would be missed by nothing else.
  for (const file of globSync('server/**/*.ts', { cwd: root })) {
    for (const [, name = ''] of readFileSync(join(root, file), 'utf8').matchAll(
      /`([\w-]+)\$\{extname\(import\.meta/g,
    )) {
      const program = `${posix.dirname(file.replaceAll('\\', '/'))}/${name}.js`;
      assert.ok(paths.includes(program), `${program}, which ${file} starts, is missing`);
    }
  }
  const packages = ['better-sqlite3', 'sharp', '@node-rs/argon2', '@node-rs/bcrypt', 'minijinja-js'];
  for (const name of packages) assert.ok(paths.includes(`node_modules/${name}/package.json`), name);
  const strange = paths.filter(
    (path) =>
      !/^(?:package\.json|LICENSE|(?:main|server|assets|build|node_modules)\/.*)$/.test(path) ||
      /(?:^|\/)(?:test|bench|renderer\/views)\//.test(path.replace(/^node_modules\/.*$/, '')) ||
      /\.tsx?$|\.map$/.test(path),
  );
  assert.deepEqual(strange, []);
  const native = packed.filter(({ path }) => /\.node$|\.so(?:\.|$)/.test(path));
  assert.ok(native.length >= 4 && native.every(({ isUnpacked }) => isUnpacked), 'native code lies beside the archive');
  const foreign = native.filter(({ path }) => !path.includes(process.arch) || !path.includes(process.platform));
  assert.deepEqual(foreign, [], 'none for other systems');
  assert.ok(!paths.some((path) => /better-sqlite3\/(?:deps|src)\//.test(path)), 'no sources of what is built');
});

test('the server inside the package starts, makes an account and lets it log in', async () => {
  const data = join(folder, 'data');
  const cli = join(inside, 'server', 'cli.js');
  const server = spawn(process.execPath, [cli, 'serve', '--data-dir', data, '--client-port', '0'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  try {
    const url = await addressOf(server);
    const register = ['register-user', '--data-dir', data, '-u', 'nora', '-p', 'a quiet evening', '--admin'];
    execFileSync(process.execPath, [cli, ...register, url], { stdio: 'pipe' });
    const response = await fetch(`${url}/_matrix/client/v3/login`, {
      method: 'POST',
      body: JSON.stringify({
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: 'nora' },
        password: 'a quiet evening',
      }),
    });
    assert.equal(response.status, 200);
    const { user_id: userId, access_token: token } = (await response.json()) as Record<string, string>;
    assert.equal(userId, '@nora:localhost');
    // A thumbnail is made by native code in a process of its own.
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'image/png' };
    const upload = await fetch(`${url}/_matrix/media/v3/upload`, {
      method: 'POST',
      headers,
      body: new Uint8Array(readFileSync(join(inside, 'build/icons/hearth-256.png'))),
    });
    const { content_uri: uri = '' } = (await upload.json()) as Record<string, string>;
    const thumbnail = await fetch(
      `${url}/_matrix/client/v1/media/thumbnail/${uri.replace('mxc://', '')}?width=96&height=96&method=scale`,
      { headers },
    );
    assert.equal(thumbnail.status, 200);
    assert.match(thumbnail.headers.get('content-type') ?? '', /^image\/(?:png|webp|jpeg)$/);
  } finally {
    const ended = new Promise((resolve) => void server.once('exit', resolve));
    server.kill('SIGTERM');
    assert.equal(await ended, 0);
  }
});

async function addressOf(server: ChildProcess): Promise<string> {
  let output = '';
  server.stdout?.on('data', (piece: Buffer) => (output += piece.toString()));
  server.stderr?.on('data', (piece: Buffer) => (output += piece.toString()));
  let found: string | undefined;
  await soon('the server says where it is', () => {
    found = /Clients connect to (http:\/\/\S+:\d+)/.exec(output)?.[1];
    assert.equal(server.exitCode, null, output);
    return found !== undefined;
  });
  return found ?? assert.fail(output);
}

test('the shell inside the package starts the server inside the package', async () => {
  await using shell = await launch({ onStandIn: true, program: join(inside, 'main', 'main.js') });
  await shell.until('the server runs', ({ server }) => server.kind === 'running');
  assert.equal((await shell.control('GET /status')).status, 200);
  assert.match(await shell.page<string>(`fetch('/').then((r) => r.text())`), /<div id=|<main|<script/);
  assert.equal(await shell.quit(), 0, shell.output);
});

test('updates find their feed, and can be checked with the key that is inside', () => {
  const config = readFileSync(join(resources, 'app-update.yml'), 'utf8');
  assert.match(config, /provider: generic\nurl: https:\/\/updates\.example\.org\/hearth/);
  const key = createPublicKey(readFileSync(join(resources, 'update-key.pem'), 'utf8'));
  assert.equal(key.asymmetricKeyType, 'ed25519');
  const descriptions = readdirSync(made.output).filter((name) => name.endsWith('.yml') && name.startsWith('latest'));
  for (const name of descriptions) {
    const signature = Buffer.from(readFileSync(join(made.output, `${name}.sig`), 'utf8'), 'base64');
    assert.ok(verify(null, readFileSync(join(made.output, name)), key, signature), `${name} is signed`);
  }
  const image = readdirSync(made.output).find((name) => name.endsWith('.AppImage'));
  if (image === undefined) {
    assert.ok(made.leftOut.length > 0, 'what was not made is said');
    return;
  }
  const text = readFileSync(join(made.output, 'latest-linux.yml'), 'utf8');
  assert.ok(text.includes(image) && text.includes('blockMapSize'), 'it can be fetched in parts');
  assert.ok((statSync(join(made.output, image)).mode & 0o111) !== 0);
  if (made.hasRuntime) return;
  // The stand-in of the part that mounts the rest is a program of the system: what follows it is the rest.
  const offset = String(statSync('/bin/true').size);
  const list = execFileSync('unsquashfs', ['-o', offset, '-l', join(made.output, image)]).toString();
  const entry = execFileSync('unsquashfs', [
    '-o',
    offset,
    '-cat',
    join(made.output, image),
    'hearth.desktop',
  ]).toString();
  assert.match(entry, /^Exec=AppRun %U$/m, 'with its sandbox');
  for (const name of ['AppRun', 'hearth.desktop', 'resources/app.asar', 'usr/share/icons/hicolor/256x256']) {
    assert.ok(list.includes(name), `${name} is in the AppImage`);
  }
});

test('the configuration is valid for every system, hardened, and what it names is there', async () => {
  const config = readConfiguration();
  const validate = (configuration: Configuration): Promise<void> =>
    new Packager({ config: configuration, projectDir: root }).validateConfig();
  await validate({ ...config, electronVersion: '45.0.0' });
  const mistaken = { ...config, win: { ...config.win, tragets: ['nsis'] } } as Configuration;
  await assert.rejects(validate(mistaken), /configuration\.win/, 'a mistake would be found');
  const { win, nsis, mac, dmg, linux, electronFuses } = config;
  assert.deepEqual([win?.target, mac?.target, linux?.target], [['nsis'], ['dmg', 'zip'], ['AppImage', 'deb']]);
  assert.equal(nsis?.deleteAppDataOnUninstall, false);
  assert.equal(mac?.hardenedRuntime, true);
  assert.ok(dmg !== undefined && config.fileAssociations === undefined);
  assert.deepEqual(
    [electronFuses?.onlyLoadAppFromAsar, electronFuses?.enableNodeOptionsEnvironmentVariable],
    [true, false],
  );
  for (const name of [win?.icon, mac?.icon, linux?.icon, mac?.entitlements, mac?.entitlementsInherit]) {
    assert.ok(typeof name === 'string' && existsSync(join(root, name)), String(name));
  }
  // A name with a space in it is another one in the address that an update is fetched from.
  for (const name of [nsis?.artifactName, mac?.artifactName, config.appImage?.artifactName, config.deb?.artifactName]) {
    assert.ok(
      typeof name === 'string' && !name.includes(' ') && name.includes('version') && name.includes('arch'),
      String(name),
    );
  }
  const icns = readFileSync(join(root, 'build/icons/icon.icns'));
  assert.equal(icns.toString('ascii', 0, 4), 'icns');
  assert.equal(icns.readUInt32BE(4), icns.length);
  const ico = readFileSync(join(root, 'build/icons/icon.ico'));
  assert.deepEqual([ico.readUInt16LE(2), ico.readUInt16LE(4)], [1, 7]);
  for (const entitlements of ['build/entitlements.mac.plist', 'build/entitlements.mac.inherit.plist']) {
    const granted = [...readFileSync(join(root, entitlements), 'utf8').matchAll(/<key>([^<]+)<\/key>/g)].map(
      ([, key]) => key,
    );
    const needed = ['com.apple.security.cs.allow-jit'];
    if (entitlements.includes('inherit')) needed.push('com.apple.security.cs.disable-library-validation');
    assert.deepEqual(granted, needed, 'and nothing beyond what is needed');
  }
});
