import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { isMap, LineCounter, parseDocument } from 'yaml';
import { Place, type PlaceFile } from './place.ts';
import type { Problem } from './problems.ts';

/** Where what is wrong with a file is gathered. */
interface Findings {
  readonly problems: Problem[];
  readonly warnings: string[];
}

/**
 * The mapping that a YAML file holds. Undefined where there is none; then `findings` says why, with `purpose` as the reason
 * that it has to be a mapping.
 */
export function readYamlFile(path: string, purpose: string, { problems, warnings }: Findings): Place | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    problems.push({ file: path, line: undefined, column: undefined, option: '', message: fileError(error) });
    return undefined;
  }
  const lines = new LineCounter();
  // Synapse reads YAML 1.1: yes and no are truth values, << merges.
  const document = parseDocument(text, { version: '1.1', lineCounter: lines, prettyErrors: false });
  const file: PlaceFile = { name: path, directory: dirname(path), document, lines, problems, warnings };
  for (const { code, message, pos } of document.errors) {
    const { line, col } = lines.linePos(pos[0]);
    const said = code === 'DUPLICATE_KEY' ? `${keyAt(text, pos[0])} is written twice` : `not valid YAML: ${message}`;
    problems.push({ file: path, line, column: col, option: '', message: said });
  }
  if (document.errors.length > 0) return undefined;
  const root = new Place(file, '', document.contents ?? undefined);
  if (root.node === undefined || isMap(root.node)) return root;
  return root.refuse(purpose);
}

function keyAt(text: string, start: number): string {
  const [key = ''] = /^[^:\r\n]{1,80}/.exec(text.slice(start)) ?? [];
  return key === '' ? 'an option' : key.trim();
}

/** What a file system error means, without its path and call. */
export function fileError(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const meanings: Readonly<Record<string, string>> = {
    ENOENT: 'there is no such file or directory',
    EACCES: 'permission denied',
    EPERM: 'not permitted',
    EISDIR: 'is a directory',
    ENOTDIR: 'a part of its path is not a directory',
    ENOSPC: 'the disk is full',
    EROFS: 'the file system is read-only',
  };
  return meanings[code] ?? (error instanceof Error ? error.message : String(error));
}
