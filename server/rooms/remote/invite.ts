import { federationPath } from '../../federation/path.ts';
import type { RoomEvent } from '../../matrix/events/event.ts';
import { parsePdu } from '../../matrix/events/parse.ts';
import { redactPdu } from '../../matrix/events/redact.ts';
import { badJson } from '../../matrix/errors.ts';
import { type ServerName, serverNameOf, type UserId } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../matrix/json.ts';
import { addSignature, signaturesOf } from '../../matrix/signing.ts';
import { listShownState } from '../stripped-state.ts';
import { asMatrixError, isUnknownOperation, malformed } from './failures.ts';
import type { RemoteChange, RemoteParts } from './parts.ts';

const INVITE_TIMEOUT_MS = 30_000;
/** More signatures than keys anybody signs with at a time are not taken over. */
const MAX_SIGNATURES = 5;

/**
 * Invites a user of another server into a room this one is in (server-server API, "Inviting to a room"): their server signs
 * the invite, or refuses it, before it becomes part of the room.
 * @throws MatrixError M_FORBIDDEN by the auth rules, or what the other server answered
 */
export async function invite(
  parts: RemoteParts,
  { userId, roomId, sender, content }: RemoteChange & { readonly sender: UserId },
): Promise<void> {
  const event = parts.sender.prepare({ roomId, type: 'm.room.member', sender, stateKey: userId, content });
  const server = serverNameOf(userId);
  let answer: JsonValue;
  try {
    answer = await deliver(parts, server, event);
  } catch (error) {
    throw asMatrixError(error);
  }
  const signed = await takeSignatures(parts, server, event, answer);
  if (signed === undefined) throw asMatrixError(malformed(server, 'the invite came back without its signature'));
  await parts.sender.sendPrepared(signed);
}

async function deliver(parts: RemoteParts, server: ServerName, event: RoomEvent): Promise<JsonValue> {
  const { client } = parts;
  const { roomId, eventId, version, pdu } = event;
  const shown = shownState(parts, event);
  const request = { destination: server, method: 'PUT', timeoutMs: INVITE_TIMEOUT_MS, ignoreBackoff: true } as const;
  try {
    return await client.request({
      ...request,
      path: federationPath('/v2/invite', roomId, eventId),
      body: { room_version: version.id, event: pdu, invite_room_state: shown },
    });
  } catch (error) {
    // Servers that know no second version of this operation know no room versions either.
    if (!isUnknownOperation(error) || version.eventIds !== 'given') throw error;
  }
  const answer = await client.request({
    ...request,
    path: federationPath('/v1/invite', roomId, eventId),
    body: { ...pdu, unsigned: { invite_room_state: shown } },
  });
  // The first version answers with a list: a status, then what was meant.
  return Array.isArray(answer) ? (answer[1] ?? null) : answer;
}

/** The room's face, as whole events: the invited user's server can check those. */
function shownState({ heads, groups, gatherer, prejoinState, events }: RemoteParts, event: RoomEvent): JsonObject[] {
  const current = heads.find(event.roomId)?.current;
  if (current === undefined) return [];
  return listShownState(event, prejoinState, {
    find: (type, stateKey) => gatherer.findIn(current, type, stateKey),
    list: (type) => groups.listType(current, type).map(([, nid]) => events.getByNid(nid)),
  }).map(({ pdu }) => pdu);
}

/** Our own event with what the invited user's server signed it with; whatever else came back does not matter. */
async function takeSignatures(
  { keyRing }: RemoteParts,
  server: ServerName,
  event: RoomEvent,
  answer: JsonValue,
): Promise<RoomEvent | undefined> {
  const returned = isJsonObject(answer) ? answer['event'] : undefined;
  if (!isJsonObject(returned)) return undefined;
  if (!parsePdu(returned, event.version).ok) throw badJson(`What ${server} returned is no event`);
  let signatures = event.pdu['signatures'];
  for (const { keyId, signature } of signaturesOf(returned, server).slice(0, MAX_SIGNATURES)) {
    signatures = addSignature(signatures, server, keyId, signature);
  }
  if (signatures === undefined || signatures === event.pdu['signatures']) return undefined;
  // One signature more could make it too large for others.
  const signed = parsePdu({ ...event.pdu, signatures }, event.version);
  if (!signed.ok) return undefined;
  // Events are signed in their redacted form, whoever signs them.
  const isSigned = await keyRing.verifyJson(server, redactPdu(signed.event.pdu, event.version), {
    validAt: event.originServerTs,
  });
  return isSigned ? signed.event : undefined;
}
