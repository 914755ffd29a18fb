/** STUN messages as TURN uses them (RFC 8489, RFC 8656). */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { crc32 } from 'node:zlib';

export const METHOD = {
  binding: 0x001,
  allocate: 0x003,
  refresh: 0x004,
  send: 0x006,
  data: 0x007,
  permission: 0x008,
} as const;
export type Method = (typeof METHOD)[keyof typeof METHOD];
export type MessageClass = 'request' | 'indication' | 'success' | 'error';

export const ATTRIBUTE = {
  username: 0x0006,
  integrity: 0x0008,
  errorCode: 0x0009,
  lifetime: 0x000d,
  peer: 0x0012,
  data: 0x0013,
  realm: 0x0014,
  nonce: 0x0015,
  relayed: 0x0016,
  family: 0x0017,
  transport: 0x0019,
  mapped: 0x0020,
  software: 0x8022,
  alternate: 0x8023,
  fingerprint: 0x8028,
} as const;

export interface Message {
  readonly method: number;
  readonly kind: MessageClass;
  /** 12 bytes. */
  readonly transaction: Buffer;
  /** In their order; of one that comes twice the first counts. */
  readonly attributes: readonly (readonly [type: number, value: Buffer])[];
}

export interface PeerAddress {
  readonly address: string;
  readonly port: number;
}

const COOKIE = 0x2112a442;
const HEADER = 20;
const CLASSES: readonly MessageClass[] = ['request', 'indication', 'success', 'error'];
const FINGERPRINT_XOR = 0x5354554e;

/** The key of long-term credentials (RFC 8489, section 9.2.2). */
export function longTermKey(username: string, realm: string, password: string): Buffer {
  return createHash('md5').update(`${username}:${realm}:${password}`).digest();
}

/** The bytes of a message; signed where there is a key. */
export function encodeMessage({ method, kind, transaction, attributes }: Message, key?: Buffer): Buffer {
  const c = CLASSES.indexOf(kind);
  const type =
    (method & 0x000f) | ((method & 0x0070) << 1) | ((method & 0x0f80) << 2) | ((c & 1) << 4) | ((c & 2) << 7);
  const parts = attributes.map(([attribute, value]) => encodeAttribute(attribute, value));
  const header = Buffer.alloc(HEADER);
  header.writeUInt16BE(type, 0);
  header.writeUInt32BE(COOKIE, 4);
  transaction.copy(header, 8);
  const sealWith = (length: number): Buffer => {
    header.writeUInt16BE(Buffer.concat(parts).length + length, 2);
    return Buffer.concat([header, ...parts]);
  };
  if (key !== undefined) {
    // Each seal covers the length as if it were the last thing in the message.
    const mac = createHmac('sha1', key).update(sealWith(24)).digest();
    parts.push(encodeAttribute(ATTRIBUTE.integrity, mac));
  }
  const check = Buffer.alloc(4);
  check.writeUInt32BE((crc32(sealWith(8)) ^ FINGERPRINT_XOR) >>> 0);
  parts.push(encodeAttribute(ATTRIBUTE.fingerprint, check));
  return sealWith(0);
}

function encodeAttribute(type: number, value: Buffer): Buffer {
  const out = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4);
  out.writeUInt16BE(type, 0);
  out.writeUInt16BE(value.length, 2);
  value.copy(out, 4);
  return out;
}

/** Reads a message; undefined where the bytes are none. */
export function decodeMessage(bytes: Buffer): Message | undefined {
  const length = messageLength(bytes);
  if (length === undefined || bytes.length < length) return undefined;
  const type = bytes.readUInt16BE(0);
  const kind = CLASSES[((type >> 4) & 1) | ((type >> 7) & 2)];
  if (kind === undefined) return undefined;
  const attributes: [number, Buffer][] = [];
  for (let at = HEADER; at + 4 <= length; ) {
    const size = bytes.readUInt16BE(at + 2);
    if (at + 4 + size > length) return undefined;
    attributes.push([bytes.readUInt16BE(at), bytes.subarray(at + 4, at + 4 + size)]);
    at += 4 + Math.ceil(size / 4) * 4;
  }
  return {
    method: (type & 0x000f) | ((type >> 1) & 0x0070) | ((type >> 2) & 0x0f80),
    kind,
    transaction: bytes.subarray(8, HEADER),
    attributes,
  };
}

/** How many bytes the message at the start of `bytes` has; undefined if there is none, or its header is not whole yet. */
export function messageLength(bytes: Buffer): number | undefined {
  if (bytes.length < HEADER || (bytes.readUInt8(0) & 0xc0) !== 0 || bytes.readUInt32BE(4) !== COOKIE) return undefined;
  return HEADER + bytes.readUInt16BE(2);
}

/** Whether the message that `bytes` are is signed with `key`; undefined where it is not signed at all. */
export function isSignedWith(bytes: Buffer, key: Buffer): boolean | undefined {
  for (let at = HEADER; at + 4 <= bytes.length; at += 4 + Math.ceil(bytes.readUInt16BE(at + 2) / 4) * 4) {
    if (bytes.readUInt16BE(at) !== ATTRIBUTE.integrity) continue;
    const covered = Buffer.from(bytes.subarray(0, at));
    covered.writeUInt16BE(at + 24 - HEADER, 2);
    const mac = createHmac('sha1', key).update(covered).digest();
    const given = bytes.subarray(at + 4, at + 24);
    return given.length === mac.length && timingSafeEqual(given, mac);
  }
  return undefined;
}

export function findAttribute({ attributes }: Message, type: number): Buffer | undefined {
  return attributes.find(([each]) => each === type)?.[1];
}

export function textOf(message: Message, type: number): string | undefined {
  return findAttribute(message, type)?.toString('utf8');
}

/** The code (300 to 699) and the words of an error. */
export function errorOf(message: Message): { readonly code: number; readonly reason: string } | undefined {
  const value = findAttribute(message, ATTRIBUTE.errorCode);
  if (value === undefined || value.length < 4) return undefined;
  return { code: (value.readUInt8(2) & 7) * 100 + value.readUInt8(3), reason: value.toString('utf8', 4).slice(0, 200) };
}

/** An XOR-…-ADDRESS (RFC 8489, section 14.2). */
export function addressOf(message: Message, type: number): PeerAddress | undefined {
  const value = findAttribute(message, type);
  if (value === undefined || value.length < 8) return undefined;
  const port = value.readUInt16BE(2) ^ (COOKIE >>> 16);
  const mask = maskOf(message.transaction);
  const isSix = value.readUInt8(1) === 2;
  if (value.length < (isSix ? 20 : 8)) return undefined;
  const raw = Array.from(value.subarray(4, isSix ? 20 : 8), (byte, index) => byte ^ (mask[index] ?? 0));
  if (!isSix) return { address: raw.join('.'), port };
  const groups = Array.from({ length: 8 }, (_, index) => ((raw[index * 2] ?? 0) << 8) | (raw[index * 2 + 1] ?? 0));
  return {
    address: new URL(`http://[${groups.map((group) => group.toString(16)).join(':')}]`).hostname.slice(1, -1),
    port,
  };
}

export function encodeAddress({ address, port }: PeerAddress, transaction: Buffer): Buffer {
  const mask = maskOf(transaction);
  const raw = isIPv4(address) ? address.split('.').map(Number) : bytesOfIpv6(address);
  const out = Buffer.alloc(4 + raw.length);
  out.writeUInt8(isIPv4(address) ? 1 : 2, 1);
  out.writeUInt16BE(port ^ (COOKIE >>> 16), 2);
  for (const [index, byte] of raw.entries()) out.writeUInt8(byte ^ (mask[index] ?? 0), 4 + index);
  return out;
}

function maskOf(transaction: Buffer): Buffer {
  const cookie = Buffer.alloc(4);
  cookie.writeUInt32BE(COOKIE);
  return Buffer.concat([cookie, transaction]);
}

function bytesOfIpv6(address: string): number[] {
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const read = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const before = read(head);
  const after = tail === undefined ? [] : read(tail);
  const groups = [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after];
  return groups.flatMap((group) => [group >> 8, group & 0xff]);
}
