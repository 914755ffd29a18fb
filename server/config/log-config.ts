import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { isJsonObject, type JsonObject, type JsonValue } from '../matrix/json.ts';
import { fileError, type Source } from './source.ts';
import type { LogConfig, LogLevel } from './types.ts';

/** What could be taken over from a log configuration in Python's format. */
interface PythonLog {
  readonly level?: LogLevel;
  readonly file?: string;
  readonly maxBytes?: number;
  readonly keep?: number;
}

/**
 * Where to log and how much. `hearth.log_file` and `hearth.log_level` go before what `log_config` says; without either,
 * lines go to `logs/hearth.log` if the server runs in a data directory of its own, and to standard output otherwise.
 */
export function buildLogConfig(source: Source, dataDir: string, inDataDir: boolean): LogConfig {
  const { hearth, log_config: path } = source.values;
  const python = path === undefined ? {} : readPythonLog(source, path);
  const fallbackFile = path === undefined && inDataDir ? join(dataDir, 'logs', 'hearth.log') : undefined;
  return {
    level: hearth.log_level ?? python.level ?? 'info',
    file: hearth.log_file === 'stdout' ? undefined : (hearth.log_file ?? python.file ?? fallbackFile),
    maxBytes: python.maxBytes ?? hearth.log_file_size,
    keep: python.keep ?? hearth.log_files_kept,
  };
}

function readPythonLog(source: Source, path: string): PythonLog {
  const refuse = (message: string): PythonLog => {
    source.refuse(['log_config'], `${path}: ${message}`);
    return {};
  };
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    return refuse(`cannot be read: ${fileError(error)}`);
  }
  const document = parseDocument(text, { version: '1.1' });
  const [error] = document.errors;
  if (error !== undefined) return refuse(`not valid YAML: ${error.message.split('\n', 1)[0] ?? ''}`);
  const content: unknown = document.toJS();
  if (!isJsonObject(content)) return refuse('is no log configuration');
  return interpret(content, dirname(path), (message) => source.warn('log_config', message));
}

function interpret(content: JsonObject, directory: string, warn: (message: string) => void): PythonLog {
  const root = objectAt(content, 'root');
  const synapse = objectAt(objectAt(content, 'loggers'), 'synapse');
  const level = levelOf(synapse['level']) ?? levelOf(root['level']);
  const names = [root, synapse].flatMap((logger) => (Array.isArray(logger['handlers']) ? logger['handlers'] : []));
  const handlers = objectAt(content, 'handlers');
  for (const name of new Set(names)) {
    const handler = typeof name === 'string' ? followTargets(handlers, name) : {};
    if (typeof handler['filename'] === 'string') {
      const kind = typeof handler['class'] === 'string' ? handler['class'] : '';
      if (kind.includes('TimedRotating')) {
        warn('log files are begun anew by their size (hearth: log_file_size), not by the time of day');
      }
      const { maxBytes, backupCount } = handler;
      return {
        ...(level === undefined ? {} : { level }),
        file: resolve(directory, handler['filename']),
        ...(isCount(maxBytes) && maxBytes > 0 ? { maxBytes } : {}),
        ...(isCount(backupCount) && backupCount > 0 ? { keep: backupCount } : {}),
      };
    }
    if (typeof handler['host'] === 'string') {
      warn('lines cannot be sent to another machine; they go to standard output');
    }
  }
  return level === undefined ? {} : { level };
}

// A handler that only buffers names another one, its target.
function followTargets(handlers: JsonObject, name: string): JsonObject {
  let handler = objectAt(handlers, name);
  for (let hops = 0; hops < 5; hops++) {
    const target = handler['target'];
    if (typeof target !== 'string') break;
    handler = objectAt(handlers, target);
  }
  return handler;
}

function objectAt(parent: JsonObject, key: string): JsonObject {
  const value = parent[key];
  return isJsonObject(value) ? value : {};
}

function isCount(value: JsonValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value);
}

function levelOf(value: JsonValue | undefined): LogLevel | undefined {
  switch (typeof value === 'string' ? value.toUpperCase() : value) {
    case 'DEBUG':
    case 'NOTSET':
    case 10:
    case 0:
      return 'debug';
    case 'INFO':
    case 20:
      return 'info';
    case 'WARNING':
    case 'WARN':
    case 30:
      return 'warn';
    case 'ERROR':
    case 'CRITICAL':
    case 'FATAL':
    case 40:
    case 50:
      return 'error';
    default:
      return undefined;
  }
}
