import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { loadConfig } from '../../server/config/config.ts';
import { complaints, load, tempDir, type Loaded } from './files.ts';

function loadWithPythonLog(t: TestContext, python: string, text = ''): Loaded {
  const file = join(tempDir(t), 'log.config');
  writeFileSync(file, python);
  return load(t, `log_config: ${JSON.stringify(file)}\n${text}`);
}

const rotating = `version: 1
formatters:
  precise: {format: '%(asctime)s - %(message)s'}
handlers:
  file:
    class: logging.handlers.RotatingFileHandler
    filename: /var/log/home.log
    maxBytes: 5000
    backupCount: 7
  buffer: {class: synapse.logging.handlers.PeriodicallyFlushingMemoryHandler, target: file, capacity: 10}
  console: {class: logging.StreamHandler}
loggers:
  synapse.storage.SQL: {level: INFO}
root:
  level: WARNING
  handlers: [HANDLER]
`;

test('the level and the file of a log configuration for Python are taken over', (t) => {
  const { config, warnings } = loadWithPythonLog(t, rotating.replace('HANDLER', 'buffer'));
  assert.deepEqual(config.log, { level: 'warn', file: '/var/log/home.log', maxBytes: 5000, keep: 7 });
  assert.deepEqual(warnings, []);
});

test('a handler for the console means standard output', (t) => {
  const { config } = loadWithPythonLog(t, rotating.replace('HANDLER', 'console'));
  assert.equal(config.log.file, undefined);
  assert.equal(config.log.level, 'warn');
});

test('what cannot be taken over is warned of', (t) => {
  const timed = rotating.replace('HANDLER', 'file').replace('RotatingFileHandler', 'TimedRotatingFileHandler');
  assert.match(loadWithPythonLog(t, timed).warnings[0] ?? '', /log_config .*by their size/);
  const remote = `version: 1
handlers: {remote: {class: synapse.logging.RemoteHandler, host: 10.1.2.3, port: 9999}}
loggers: {synapse: {level: DEBUG, handlers: [remote]}}
`;
  const { config, warnings } = loadWithPythonLog(t, remote);
  assert.equal(config.log.level, 'debug');
  assert.equal(config.log.file, undefined);
  assert.match(warnings[0] ?? '', /another machine/);
});

test('what stands under hearth goes before log_config', (t) => {
  const own = 'hearth: {log_level: error, log_file: stdout}\n';
  const { config } = loadWithPythonLog(t, rotating.replace('HANDLER', 'file'), own);
  assert.equal(config.log.level, 'error');
  assert.equal(config.log.file, undefined);
  const { config: other, directory } = load(
    t,
    'hearth: {log_file: logs/a.log, log_file_size: 1M, log_files_kept: 2}\n',
  );
  assert.deepEqual(other.log, { level: 'info', file: join(directory, 'logs', 'a.log'), maxBytes: 1024 ** 2, keep: 2 });
});

test('a log configuration that is lacking or broken is a mistake', (t) => {
  const [lacking] = complaints(t, 'log_config: none.config\n');
  assert.match(lacking ?? '', /^2:1 log_config .*none\.config: cannot be read: there is no such file/);
  assert.throws(() => loadWithPythonLog(t, 'root: [\n'), /log_config: .*not valid YAML/);
});

test('the log goes to a file in a data directory, and to standard output elsewhere', (t) => {
  const { config, directory } = load(t, '');
  assert.equal(config.log.file, undefined);
  const own = loadConfig({ dataDir: directory }).config;
  assert.equal(own.log.file, join(directory, 'logs', 'hearth.log'));
});
