import { forbidden, invalidParam, MatrixError, notFound } from '../../../matrix/errors.ts';
import { checkContentHash } from '../../../matrix/events/hash.ts';
import type { RoomEvent } from '../../../matrix/events/event.ts';
import { redactPdu } from '../../../matrix/events/redact.ts';
import { stripStateEvent } from '../../../matrix/events/strip.ts';
import { isUserId, type RoomId, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../../matrix/json.ts';
import { findRoomVersion, type RoomVersion } from '../../../matrix/room-versions.ts';
import { signaturesOf } from '../../../matrix/signing.ts';
import { takeAll } from '../service/places.ts';
import { type InviteState, readInviteState } from './invite-state.ts';
import type { FederationParts, Submission } from './needs.ts';
import { incompatibleVersion, type Residence } from './residence.ts';
import { readEvent, requireMembership, withSignature } from './submissions.ts';

/** An invite as it came in. */
export interface Invitation {
  readonly version: RoomVersion;
  readonly body: JsonObject;
  /** What it tells of the room, unread. */
  readonly roomState: JsonValue | undefined;
}

/** Invites of our users by those of other servers (spec: server-server API, "Inviting to a room"). */
export interface Invitations {
  /**
   * Takes an invite and signs it. Sending the same one again gives the same answer and changes nothing.
   * @throws MatrixError M_INVALID_PARAM, M_BAD_JSON for what is no invite of one of our users; M_FORBIDDEN, M_INVITE_BLOCKED,
   * M_NOT_FOUND where it is not wanted or there is no such user; M_LIMIT_EXCEEDED
   */
  take(submission: Submission & { readonly roomId: RoomId }, invitation: Invitation): Promise<JsonObject>;
}

/** The version of a room as its ID says. @throws MatrixError M_INCOMPATIBLE_ROOM_VERSION for one this server does not know */
export function readVersion(versionId: string): RoomVersion {
  const version = findRoomVersion(versionId);
  if (version === undefined) throw incompatibleVersion(versionId);
  return version;
}

export function createInvitations({ needs, federation }: FederationParts, residence: Residence): Invitations {
  const { db, log, events, members, settings, limits } = needs;
  const { keyRing, inbox, outside, users, signingKey, strictInviteState: strict = false } = federation;

  /** What has nothing to do with the event but with who may invite whom here. */
  function requireWelcome(inviter: UserId, invitee: UserId, roomId: RoomId): void {
    if (needs.isBlocked?.(roomId) === true) throw forbidden('This room has been blocked on this server');
    if (settings.blockNonAdminInvites) throw forbidden('This server takes no invites from other servers');
    if (invitee === needs.serverNotices?.userId) throw forbidden('This user cannot be invited');
    if (users.isDeactivated(invitee)) throw forbidden('This user cannot be invited');
    if (needs.mayInvite?.(inviter, invitee) === false) {
      throw new MatrixError('M_INVITE_BLOCKED', `${invitee} does not want to be invited`);
    }
    // How many are invited into a room is for the inviter's server to limit.
    takeAll({ rateLimited: true }, [
      [limits.invitesPerUser, invitee],
      [limits.invitesPerIssuer, inviter],
    ]);
  }

  /** @throws MatrixError M_FORBIDDEN */
  async function requireSigned(event: RoomEvent, inviter: UserId): Promise<void> {
    if (!(await keyRing.checkEvent(event))) throw forbidden('A signature of the event is missing or wrong');
    // An invite by third-party identifier may be sent on by others; but here it comes from the sender's own server.
    const protectedPart = redactPdu(event.pdu, event.version);
    if (!(await keyRing.verifyJson(serverNameOf(inviter), protectedPart))) {
      throw forbidden('The server of the sender did not sign the invite');
    }
  }

  /** The invite as it was signed here before, whether it is still held or something newer has followed it. */
  function findEarlier({ eventId, roomId }: RoomEvent, invitee: UserId): JsonObject | undefined {
    const known = events.findEvent(eventId);
    if (known === undefined || members.findMember(roomId, invitee) === undefined) return undefined;
    return signaturesOf(known.pdu, settings.serverName).length > 0 ? known.pdu : undefined;
  }

  /** In a room we are in it takes the road of every event. */
  async function takeHere(signed: RoomEvent): Promise<void> {
    const acceptance = await inbox.accept(signed.pdu, { verified: true });
    switch (acceptance.kind) {
      case 'stored':
      case 'known':
        if (acceptance.event.verdict !== 'accepted') throw forbidden('The rules of the room do not allow this');
        return;
      case 'dropped':
        throw invalidParam(`The event cannot be taken: ${acceptance.reason}`);
      case 'missing':
      // We lag behind. It comes once more, in a transaction, and is judged when what it rests on is here.
    }
  }

  function takeOutside(signed: RoomEvent, { stripped, fault }: InviteState): void {
    const { roomId, eventId } = signed;
    if (fault !== undefined) log.warn({ roomId, eventId, fault }, 'an invite told of its room in an improper way');
    const others = stripped.filter(({ type, state_key: key }) => type !== signed.type || key !== signed.stateKey);
    const strippedState = [...others, stripStateEvent(signed)];
    const stored = db.write((tx) => outside.put(tx, signed, { strippedState }));
    if (stored === undefined) throw invalidParam('The invite does not fit what this server knows of the room');
  }

  return {
    take: async (submission, { version, body, roomState }) => {
      const { origin, roomId } = submission;
      residence.requireAllowed(origin, roomId);
      const known = residence.isHere(roomId) ? events.findRoom(roomId) : undefined;
      if (known !== undefined && known.version.id !== version.id) {
        throw invalidParam(`The room is of version ${known.version.id}`);
      }
      const event = readEvent(body, version);
      requireMembership(event, submission, 'invite');
      const { sender: inviter, stateKey: invitee } = event;
      if (invitee === undefined || !isUserId(invitee) || serverNameOf(invitee) !== settings.serverName) {
        throw invalidParam('The invited user is none of this server');
      }
      if (serverNameOf(inviter) !== origin)
        throw invalidParam('The invite is not by a user of the server that sent it');
      if (!checkContentHash(event.pdu, version)) throw invalidParam('The content hash of the event is wrong');
      await requireSigned(event, inviter);
      const earlier = findEarlier(event, invitee);
      if (earlier !== undefined) return earlier;

      // Inside a room, an invite concerns its members whether or not there is such a user; outside, nobody else.
      await needs.summon?.(invitee);
      const isHere = residence.isHere(roomId);
      if (!isHere && !users.exists(invitee)) throw notFound('There is no such user');
      requireWelcome(inviter, invitee, roomId);
      const signed = withSignature(event, settings.serverName, signingKey);
      const state = isHere ? undefined : await readInviteState(roomState, { roomId, version }, { keyRing, strict });
      if (state === undefined || residence.isHere(roomId)) await takeHere(signed);
      else if (findEarlier(event, invitee) === undefined) takeOutside(signed, state);
      return signed.pdu;
    },
  };
}
