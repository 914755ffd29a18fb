import { badJson, forbidden, invalidParam, tooLarge } from '../../../matrix/errors.ts';
import { checkContentHash } from '../../../matrix/events/hash.ts';
import type { RoomEvent } from '../../../matrix/events/event.ts';
import { parsePdu } from '../../../matrix/events/parse.ts';
import { signPdu } from '../../../matrix/events/sign.ts';
import { isUserId, type RoomId, type ServerName, serverNameOf } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../../matrix/json.ts';
import type { RoomVersion } from '../../../matrix/room-versions.ts';
import type { PersistedEvent } from '../../../rooms/types.ts';
import type { Handshakes } from './handshakes.ts';
import type { FederationParts, Submission } from './needs.ts';
import { requireOwnUser, type Residence } from './residence.ts';

/**
 * The second half of the handshakes: takes the events that other servers completed, stores them and sends them on to all
 * other servers in the room. Handing in the same event again gives the same answer.
 */
export interface Submissions {
  /**
   * @throws MatrixError M_BAD_JSON for what is no event of the room's version; M_INVALID_PARAM for another event than the
   * path says; M_FORBIDDEN where the signatures are wrong or the room's rules refuse it; M_NOT_FOUND for a room we are not
   * in; for joins also what `Handshakes.findAuthoriser` throws, and M_LIMIT_EXCEEDED
   */
  submit(
    submission: Submission & { readonly roomId: RoomId },
    body: JsonObject,
    membership: 'join' | 'knock' | 'leave',
  ): Promise<PersistedEvent>;
  /**
   * What somebody who knocked is shown of the room, as events (spec: server-server API, PUT send_knock):
   * the create event at the least.
   */
  listKnockState(knock: PersistedEvent): JsonObject[];
}

/** Reads an event that came in a request. @throws MatrixError M_FORBIDDEN, M_BAD_JSON, M_TOO_LARGE */
export function readEvent(body: JsonObject, version: RoomVersion): RoomEvent {
  // Nothing was signed that has no hash to sign.
  if (!isJsonObject(body['hashes'])) throw forbidden('The event is not hashed and signed');
  const parsed = parsePdu(body, version);
  if (parsed.ok) return parsed.event;
  const reason = `This is no event of room version ${version.id}: ${parsed.reason}`;
  throw parsed.tooLarge ? tooLarge(reason) : badJson(reason);
}

/** @throws MatrixError M_INVALID_PARAM unless it is a membership event of this kind, and the one that the path names */
export function requireMembership(event: RoomEvent, { roomId, eventId }: Submission, membership: string): void {
  if (event.roomId !== roomId) throw invalidParam('The event is of another room than the path says');
  if (event.eventId !== eventId) throw invalidParam('The event has another ID than the path says');
  if (event.type !== 'm.room.member' || event.content['membership'] !== membership) {
    throw invalidParam(`The event is not an m.room.member event with membership "${membership}"`);
  }
}

/** The event with one more signature in its PDU. */
export function withSignature(event: RoomEvent, server: ServerName, key: Parameters<typeof signPdu>[3]): RoomEvent {
  return { ...event, pdu: signPdu(event.pdu, event.version, server, key) };
}

export function createSubmissions(
  { needs, federation }: FederationParts,
  residence: Residence,
  handshakes: Pick<Handshakes, 'findAuthoriser'>,
): Submissions {
  const { events, limits, settings } = needs;
  const { inbox, keyRing, forwarder, signingKey } = federation;

  /** Whether one of our users is named as vouching for the join, so that our signature is asked for. */
  function isOursToSign({ content, version }: RoomEvent): boolean {
    const authoriser = content['join_authorised_via_users_server'];
    if (!version.restrictedJoins || typeof authoriser !== 'string' || !isUserId(authoriser)) return false;
    return serverNameOf(authoriser) === settings.serverName;
  }

  /** @throws MatrixError M_FORBIDDEN where it was not accepted then, or is no longer what holds */
  function requireInForce(event: PersistedEvent, membership: string): PersistedEvent {
    if (event.verdict !== 'accepted' || event.outlier) throw forbidden('The rules of the room do not allow this');
    const { stateKey } = event;
    const member =
      stateKey !== undefined && isUserId(stateKey) ? needs.members.findMember(event.roomId, stateKey) : undefined;
    if (membership !== 'leave' && member?.membership !== membership) {
      throw forbidden('This event has long been followed by another');
    }
    return event;
  }

  return {
    submit: async (submission, body, membership) => {
      const { origin, roomId } = submission;
      const { version } = residence.require(origin, roomId);
      const event = readEvent(body, version);
      requireMembership(event, submission, membership);
      if (event.stateKey !== event.sender) throw invalidParam('The state key and the sender must be the same user');
      requireOwnUser(origin, event.sender);
      if (membership === 'knock' && !version.knocking) {
        throw forbidden(`Rooms of version ${version.id} cannot be knocked on`);
      }
      const known = events.findEvent(event.eventId);
      if (known !== undefined && !known.outlier) return requireInForce(known, membership);

      if (!checkContentHash(event.pdu, version)) throw invalidParam('The content hash of the event is wrong');
      const needsOurs = membership === 'join' && isOursToSign(event);
      const signed = needsOurs ? withSignature(event, settings.serverName, signingKey) : event;
      if (!(await keyRing.checkEvent(signed))) throw forbidden('A signature of the event is missing or wrong');
      // Keys may have had to be fetched; what was true before that may no longer be.
      residence.require(origin, roomId);
      // Our signature must not leave the house for a join that we would not have let pass ourselves.
      if (needsOurs) handshakes.findAuthoriser(roomId, event.sender);
      if (membership === 'join') limits.joinsPerRoom.check(roomId);

      const acceptance = await inbox.accept(signed.pdu, {
        verified: true,
        alongside: (tx, stored) => {
          if (stored.verdict === 'accepted') forwarder.forward(tx, stored);
        },
      });
      switch (acceptance.kind) {
        case 'stored':
          if (acceptance.event.verdict !== 'accepted') throw forbidden('The rules of the room do not allow this');
          return acceptance.event;
        case 'known':
          return requireInForce(acceptance.event, membership);
        case 'dropped':
          throw invalidParam(`The event cannot be taken: ${acceptance.reason}`);
        case 'missing':
          throw invalidParam('The event rests on others that this server does not have');
      }
    },

    listKnockState: (knock) => {
      const userId = knock.sender;
      const state = federation.state.stateBefore(knock.eventId);
      const shown = federation.members
        .listStrippedState(knock.roomId, userId)
        .map(({ type, state_key: stateKey }) => ({ type, stateKey }));
      const pdus = new Map<string, JsonObject>();
      for (const { type, stateKey } of [{ type: 'm.room.create', stateKey: '' }, ...shown]) {
        if (typeof type !== 'string' || typeof stateKey !== 'string') continue;
        // What they sent themselves they know.
        if (type === 'm.room.member' && stateKey === userId) continue;
        const id = state?.find(type, stateKey);
        const event = id === undefined ? undefined : events.findEvent(id);
        if (event !== undefined) pdus.set(event.eventId, event.pdu);
      }
      return [...pdus.values()];
    },
  };
}
