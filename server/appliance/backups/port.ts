import type { CopyOptions } from '../../storage/copy.ts';

/** A file as it goes into a backup: its content, or where that lies. */
export type SourceFile = { readonly name: string } & ({ readonly content: Buffer } | { readonly path: string });

/** What a backup is made of, whether the homeserver runs or not. */
export interface BackupSource {
  readonly serverName: string;
  /** Of this program. */
  readonly version: string;
  /** Bytes of the database, and of the media of which it knows. */
  measure(): { readonly databaseBytes: number; readonly mediaBytes: number };
  /** Writes a copy of the database, as it is at one moment, to a new file. */
  copyDatabase(path: string, options: CopyOptions): Promise<void>;
  /** The files of media that a copy of the database refers to: where they lie, and their names by the data directory. */
  openMedia(copy: string): {
    list(): Iterable<{ readonly name: string; readonly path: string; readonly sha256: string; readonly bytes: number }>;
    close(): void;
  };
  /** Configuration, signing key and what else the configuration names; small. Paths in it start from the data directory. */
  listFiles(): readonly SourceFile[];
  /** As it is on the recovery sheet. Throws where it cannot be read. */
  signingKey(): { readonly keyId: string; readonly line: string; readonly file: string };
}
