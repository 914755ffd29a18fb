import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Config, loadConfig, type LoadOptions } from '../../server/config/config.ts';
import { ConfigError, type Problem } from '../../server/config/problems.ts';

/** A folder that goes when the test ends. */
export function tempDir(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export interface Loaded {
  readonly directory: string;
  readonly config: Config;
  readonly warnings: readonly string[];
}

/** Loads a configuration with `text` below a server name. */
export function load(t: TestContext, text: string, options: LoadOptions = {}): Loaded {
  const directory = tempDir(t);
  const file = join(directory, 'homeserver.yaml');
  writeFileSync(file, `server_name: home.example\n${text}`);
  return { directory, ...loadConfig({ configPath: file, ...options }) };
}

/** What is wrong with the text of a configuration; nothing is added to it. */
export function problemsOf(t: TestContext, text: string): readonly Problem[] {
  const file = join(tempDir(t), 'homeserver.yaml');
  writeFileSync(file, text);
  try {
    loadConfig({ configPath: file });
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

/** The same in short: `line:column option message`. The server name above it is line 1. */
export function complaints(t: TestContext, text: string): readonly string[] {
  return problemsOf(t, `server_name: home.example\n${text}`).map(
    ({ line, column, option, message }) => `${line}:${column} ${option} ${message}`,
  );
}
