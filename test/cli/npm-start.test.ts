import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../kit/test-network.ts';

const root = join(import.meta.dirname, '..', '..');

test('npm that is told to end takes the server with it, in order', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-npm-'));
  try {
    const data = join(folder, 'data');
    const program = `"${process.execPath}" server/cli.ts start --data-dir "${data}" --client-port 0 --control-port 0`;
    // As npm does it: with a shell in between, which passes nothing on.
    const shell = spawn('/bin/sh', ['-c', `${program}; true`], {
      cwd: root,
      env: { ...process.env, npm_lifecycle_event: 'start' },
      stdio: 'ignore',
    });
    const ended = new Promise((resolve) => void shell.once('exit', resolve));
    await eventually('the server runs', () => existsSync(join(data, 'control.json')), 60_000);
    shell.kill('SIGTERM');
    await ended;
    const log = join(data, 'logs', 'hearth.log');
    await eventually('the server has stopped', () => readFileSync(log, 'utf8').includes('"stopped"'), 60_000);
    assert.ok(!existsSync(join(data, 'control.json')));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('npm start runs the newest bundle, and the source where there is none', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-start-'));
  try {
    mkdirSync(join(folder, 'build'));
    cpSync(join(root, 'build', 'run.js'), join(folder, 'build', 'run.js'));
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    symlinkSync(join(root, 'server'), join(folder, 'server'));
    const run = async (): Promise<string> => {
      const child = spawn(process.execPath, ['build/run.js', '--version'], { cwd: folder });
      let output = '';
      child.stdout.on('data', (piece: Buffer) => (output += piece.toString()));
      child.stderr.on('data', (piece: Buffer) => (output += piece.toString()));
      await new Promise((resolve) => void child.once('close', resolve));
      return output.trim();
    };
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    assert.ok((await run()).includes(version));
    const bundle = join(folder, 'out', 'start', '17-4', 'server');
    mkdirSync(bundle, { recursive: true });
    writeFileSync(join(bundle, 'cli.js'), 'console.log("the bundle", process.argv[2]);');
    writeFileSync(join(folder, 'out', 'start', 'newest'), '17-4\n');
    assert.equal(await run(), 'the bundle --version');
    rmSync(bundle, { recursive: true });
    assert.ok((await run()).includes(version), 'a note of what was removed leads nowhere');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
