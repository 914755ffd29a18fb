import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { Compile } from 'typebox/schema';
import { Type } from '../../http/type.ts';
import type { Random } from '../../util/random.ts';
import { refusal } from './refusal.ts';

/**
 * A backup file: eight letters, the length of the header (4 bytes), the header (JSON), its tag (32 bytes), then the content
 * in sealed chunks. The passphrase gives a key by Argon2id with the header's parameters; out of that key and the whole
 * header come the key of the tag and that of the content, so that no part of the header can be changed unnoticed.
 */
export const MAGIC = Buffer.from('HEARTHB1', 'latin1');
export const TAG_BYTES = 32;
const MAX_HEADER_BYTES = 4_096;
const SALT_BYTES = 16;
const KEY_BYTES = 32;

/** What Argon2id is to spend: KiB of memory, passes, lanes. */
export interface KeyCost {
  readonly memoryKiB: number;
  readonly passes: number;
  readonly lanes: number;
}

/** RFC 9106, section 4, the second recommended choice. */
export const USUAL_COST: KeyCost = { memoryKiB: 65_536, passes: 3, lanes: 4 };

/** What can be read of a backup without its passphrase. */
export interface BackupHeader {
  readonly serverName: string;
  /** ms since the epoch. */
  readonly madeAt: number;
  /** Made by the schedule, which may remove it later. */
  readonly scheduled: boolean;
}

// A header may come from anybody: what it asks for must not bring down the one who only looks at it.
const headerSchema = Compile(
  Type.Object({
    format: Type.Literal(1),
    server_name: Type.String({ minLength: 1, maxLength: 255 }),
    made_at: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
    scheduled: Type.Boolean(),
    cipher: Type.Literal('aes-256-gcm'),
    kdf: Type.Object({
      algorithm: Type.Literal('argon2id'),
      memory_kib: Type.Integer({ minimum: 1_024, maximum: 524_288 }),
      passes: Type.Integer({ minimum: 1, maximum: 16 }),
      lanes: Type.Integer({ minimum: 1, maximum: 16 }),
      salt: Type.String({ pattern: '^[0-9a-f]{32}$' }),
    }),
  }),
);

/** The beginning of a backup file, and the key of what follows. */
export interface Beginning {
  readonly header: BackupHeader;
  readonly bytes: Buffer;
  readonly contentKey: Buffer;
}

/** Makes the beginning of a new file. */
export async function beginFile(
  passphrase: string,
  header: BackupHeader,
  { random, cost = USUAL_COST }: { readonly random: Random; readonly cost?: KeyCost | undefined },
): Promise<Beginning> {
  const salt = random.bytes(SALT_BYTES);
  const text = JSON.stringify({
    format: 1,
    server_name: header.serverName,
    made_at: header.madeAt,
    scheduled: header.scheduled,
    cipher: 'aes-256-gcm',
    kdf: {
      algorithm: 'argon2id',
      memory_kib: cost.memoryKiB,
      passes: cost.passes,
      lanes: cost.lanes,
      salt: salt.toString('hex'),
    },
  });
  const headerBytes = Buffer.from(text);
  const { tagKey, contentKey } = await deriveKeys(passphrase, headerBytes, { ...cost, salt });
  const length = Buffer.alloc(4);
  length.writeUInt32BE(headerBytes.length);
  return { header, contentKey, bytes: Buffer.concat([MAGIC, length, headerBytes, tagOf(tagKey, headerBytes)]) };
}

/** Reads so many bytes of a file, or as many as there are. */
export type ReadAt = (position: number, length: number) => Promise<Buffer>;

export interface ReadHeader {
  readonly header: BackupHeader;
  /** Where the content begins. */
  readonly end: number;
  /** Throws where the passphrase is not the one it was made with, or the header was changed. */
  unlock(passphrase: string): Promise<Buffer>;
}

/** Reads the header of a backup file. Throws a refusal for what is no backup, or none that this version can read. */
export async function readHeader(readAt: ReadAt): Promise<ReadHeader> {
  const start = await readAt(0, MAGIC.length + 4);
  if (start.length === 0) throw refusal('The file is empty');
  if (!start.subarray(0, MAGIC.length).equals(MAGIC.subarray(0, start.length))) throw refusal(NO_BACKUP);
  if (start.length < MAGIC.length + 4) throw refusal(CUT_OFF);
  const length = start.readUInt32BE(MAGIC.length);
  if (length > MAX_HEADER_BYTES) throw refusal(NO_BACKUP);
  const rest = await readAt(start.length, length + TAG_BYTES);
  if (rest.length < length + TAG_BYTES) throw refusal(CUT_OFF);
  const bytes = rest.subarray(0, length);
  const tag = rest.subarray(length);
  const content = parseHeader(bytes);
  const { memory_kib: memoryKiB, passes, lanes, salt } = content.kdf;
  return {
    header: { serverName: content.server_name, madeAt: content.made_at, scheduled: content.scheduled },
    end: start.length + rest.length,
    unlock: async (passphrase) => {
      const cost = { memoryKiB, passes, lanes, salt: Buffer.from(salt, 'hex') };
      const { tagKey, contentKey } = await deriveKeys(passphrase, bytes, cost);
      if (!timingSafeEqual(tagOf(tagKey, bytes), tag)) {
        throw refusal('The passphrase is wrong, or the beginning of the file is damaged');
      }
      return contentKey;
    },
  };
}

const NO_BACKUP = 'The file is no backup of Hearth, or its beginning is damaged';
export const CUT_OFF = 'The file is cut off: a part of the backup is missing';

function parseHeader(bytes: Buffer) {
  let content: unknown;
  try {
    content = JSON.parse(bytes.toString());
  } catch (error) {
    if (error instanceof SyntaxError) throw refusal(NO_BACKUP);
    throw error;
  }
  if (typeof content === 'object' && content !== null && 'format' in content && Number(content.format) > 1) {
    throw refusal('The backup was made by a newer version of Hearth');
  }
  if (!headerSchema.Check(content)) throw refusal(NO_BACKUP);
  return content;
}

async function deriveKeys(
  passphrase: string,
  header: Buffer,
  { memoryKiB, passes, lanes, salt }: KeyCost & { readonly salt: Buffer },
): Promise<{ readonly tagKey: Buffer; readonly contentKey: Buffer }> {
  const { hashRaw } = await import('@node-rs/argon2');
  // The same letters may be written in several ways, and keyboards differ.
  const key = await hashRaw(passphrase.normalize('NFKC'), {
    algorithm: ARGON2ID,
    memoryCost: memoryKiB,
    timeCost: passes,
    parallelism: lanes,
    outputLen: KEY_BYTES,
    salt,
  });
  // HKDF takes 1,024 bytes of info at most: the header goes in as its salt.
  const derive = (purpose: string): Buffer =>
    Buffer.from(hkdfSync('sha256', key, header, `hearth backup 1 ${purpose}`, KEY_BYTES));
  return { tagKey: derive('header'), contentKey: derive('content') };
}

function tagOf(key: Buffer, header: Buffer): Buffer {
  return createHmac('sha256', key).update(header).digest();
}

/** The number that names it; the library's constant is erased with the types. */
const ARGON2ID = 2;
