import { hash } from 'node:crypto';

import { decodeBase64, encodeBase64 } from '../base64.ts';
import { canonicalJson } from '../canonical-json.ts';
import { isJsonObject } from '../json.ts';
import type { RoomVersion } from '../room-versions.ts';
import { signedText } from '../signing.ts';
import type { Pdu } from './event.ts';
import { redactPdu } from './redact.ts';

/** SHA-256 of `text` as UTF-8: 32 bytes. */
export function sha256(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}

/** What the content hash covers, as canonical JSON. */
export function contentHashText(pdu: Pdu, version: RoomVersion): string {
  const { unsigned: _unsigned, signatures: _signatures, hashes: _hashes, ...rest } = pdu;
  return canonicalJson(rest, { strict: version.strictCanonicalJson });
}

/**
 * The hash of the whole event, 32 bytes (spec: server-server API, "Calculating the content hash for an event"). Throws
 * CanonicalJsonError for what has no canonical form.
 */
export function contentHash(pdu: Pdu, version: RoomVersion): Buffer {
  return sha256(contentHashText(pdu, version));
}

/** Whether the PDU's own `hashes` tell the truth. If not, only its redacted form counts. */
export function checkContentHash(pdu: Pdu, version: RoomVersion): boolean {
  const hashes = pdu['hashes'];
  const claimed = isJsonObject(hashes) ? hashes['sha256'] : undefined;
  const bytes = typeof claimed === 'string' ? decodeBase64(claimed) : undefined;
  return bytes?.equals(contentHash(pdu, version)) ?? false;
}

/**
 * The redacted PDU as canonical JSON without `signatures`: both what servers sign and what the reference hash covers, so
 * that it need not be written twice.
 */
export function referenceText(pdu: Pdu, version: RoomVersion): string {
  return signedText(redactPdu(pdu, version), { strict: version.strictCanonicalJson });
}

/**
 * The hash of what cannot be redacted away, 32 bytes (spec: server-server API, "Calculating the reference hash for an
 * event"). Throws CanonicalJsonError for what has no canonical form.
 */
export function referenceHash(pdu: Pdu, version: RoomVersion): Buffer {
  return sha256(referenceText(pdu, version));
}

/** The reference hash as prev_events and auth_events of room versions 1 and 2 carry it. */
export function referenceHashBase64(pdu: Pdu, version: RoomVersion): string {
  return encodeBase64(referenceHash(pdu, version));
}
