import { CanonicalJsonError } from '../canonical-json.ts';
import { isUserId, type ServerName, serverNameOf } from '../identifiers.ts';
import type { RoomVersion } from '../room-versions.ts';
import { addSignature, type SigningKey, signaturesOf, signText, verifyText } from '../signing.ts';
import type { Pdu, RoomEvent } from './event.ts';
import { givenIdServer } from './event-id.ts';
import { referenceText } from './hash.ts';

/**
 * The PDU with a signature of `server` added to those it has (spec: server-server API, "Adding hashes and signatures to
 * outgoing events"). Its `hashes` must already be right. Throws CanonicalJsonError for what has no canonical form.
 */
export function signPdu(pdu: Pdu, version: RoomVersion, server: ServerName, key: SigningKey): Pdu {
  const signature = signText(referenceText(pdu, version), key);
  return { ...pdu, signatures: addSignature(pdu['signatures'], server, key.keyId, signature) };
}

/**
 * Whether the PDU bears a valid signature of `server` made with the key `keyId`, whose public half is `publicKey` (base64
 * or 32 bytes). True for the redacted copy of a signed PDU as well. What is malformed is not validly signed.
 */
export function verifyPduSignature(
  pdu: Pdu,
  version: RoomVersion,
  server: ServerName,
  keyId: string,
  publicKey: string | Uint8Array,
): boolean {
  const signature = signaturesOf(pdu, server).find((candidate) => candidate.keyId === keyId)?.signature;
  if (signature === undefined) return false;
  try {
    return verifyText(referenceText(pdu, version), signature, publicKey);
  } catch (error) {
    if (error instanceof CanonicalJsonError) return false;
    throw error;
  }
}

/**
 * The servers whose signature an event needs (spec: server-server API, "Validating hashes and signatures on received
 * events"): the sender's, except on an invite by third-party identifier, which another server may send on; in room
 * versions 1 and 2 also the one that named the event; and the one that vouches for a restricted join.
 */
export function requiredSigners(event: RoomEvent): readonly ServerName[] {
  const signers = new Set<ServerName>();
  const isMember = event.type === 'm.room.member';
  const isThirdPartyInvite =
    isMember && event.content['membership'] === 'invite' && Object.hasOwn(event.content, 'third_party_invite');
  if (!isThirdPartyInvite) signers.add(serverNameOf(event.sender));
  if (event.version.eventIds === 'given') {
    const server = givenIdServer(event.eventId);
    if (server !== undefined) signers.add(server);
  }
  // Auth rules, m.room.member, 4.2 (room version 8 on): whatever the membership is. Parsing refused what is no user ID.
  const authoriser = event.content['join_authorised_via_users_server'];
  if (isMember && event.version.restrictedJoins && typeof authoriser === 'string' && isUserId(authoriser)) {
    signers.add(serverNameOf(authoriser));
  }
  return [...signers];
}
