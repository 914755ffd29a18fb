import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

interface Entry {
  readonly files?: Readonly<Record<string, Entry>>;
  readonly size?: number;
  readonly offset?: string;
  readonly unpacked?: boolean;
}

/** A file of an archive, by its path in it. */
export interface Packed {
  readonly path: string;
  /** It lies beside the archive. */
  readonly isUnpacked: boolean;
  readonly content: Buffer | undefined;
}

/** Reads an archive of Electron's: a Chromium pickle with the list as JSON, then the files one after the other. */
export function readAsar(file: string): Packed[] {
  const bytes = readFileSync(file);
  const start = 8 + bytes.readUInt32LE(4);
  const list: Entry = JSON.parse(bytes.toString('utf8', 16, 16 + bytes.readUInt32LE(12)));
  const found: Packed[] = [];
  const visit = ({ files = {} }: Entry, above: string): void => {
    for (const [name, entry] of Object.entries(files)) {
      const path = above === '' ? name : `${above}/${name}`;
      if (entry.files !== undefined) visit(entry, path);
      else if (entry.unpacked === true) found.push({ path, isUnpacked: true, content: undefined });
      else {
        const at = start + Number(entry.offset);
        found.push({ path, isUnpacked: false, content: bytes.subarray(at, at + (entry.size ?? 0)) });
      }
    }
  };
  visit(list, '');
  return found;
}

/** Lays the files out as Electron shows them to the program inside: those beside the archive in their places. */
export function unpackAsar(file: string, directory: string): void {
  for (const { path, content } of readAsar(file)) {
    if (content === undefined) continue;
    mkdirSync(join(directory, path, '..'), { recursive: true });
    writeFileSync(join(directory, path), content);
  }
  if (existsSync(`${file}.unpacked`)) cpSync(`${file}.unpacked`, directory, { recursive: true });
}
