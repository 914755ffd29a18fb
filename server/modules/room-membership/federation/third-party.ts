import { FederationError } from '../../../federation/errors.ts';
import { federationPath } from '../../../federation/path.ts';
import { forbidden, invalidParam, MatrixError, notFound } from '../../../matrix/errors.ts';
import {
  isRoomId,
  isServerName,
  isUserId,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import { validityUrls } from '../service/joins.ts';
import { takeAll } from '../service/places.ts';
import type { FederationParts } from './needs.ts';
import { requireOwnUser, type Residence } from './residence.ts';

/** What is done for one report of an identity server at most; nobody has as many invites waiting. */
const MAX_INVITES = 50;

/** Invites of people who were only known by an address (spec: server-server API, "Third-party invites"). */
export interface ThirdPartyInvitations {
  /**
   * The invited user's server asks for the invite that one of our users offered them. Resolves when the invite is sent.
   * @throws MatrixError M_INVALID_PARAM, M_NOT_FOUND for a room we are not in, M_FORBIDDEN, M_LIMIT_EXCEEDED, and what the
   * invite itself meets with
   */
  exchange(origin: ServerName, roomId: RoomId, event: JsonObject): Promise<void>;
  /**
   * An identity server says that one of our users now has an address that invites wait for. Resolves when each invite has
   * been asked for; what one room refuses does not stop the others.
   * @throws MatrixError M_INVALID_PARAM, M_NOT_FOUND for a user who is not here; M_UNKNOWN (502) if a server could not be asked
   */
  bind(userId: UserId, invites: readonly JsonValue[]): Promise<void>;
}

/** What an identity server signed: that the holder of an invite's token is this user. */
type Signed = JsonObject & { readonly mxid: string; readonly token: string; readonly signatures: JsonObject };

/** An invite that waits for whoever has the address. */
interface Offer {
  readonly roomId: RoomId;
  readonly sender: UserId;
  readonly signed: Signed;
}

export function createThirdPartyInvitations(
  { needs, federation }: FederationParts,
  residence: Residence,
): ThirdPartyInvitations {
  const { settings, limits, log, members, sender, remote } = needs;
  const { state, templates, client, users, forwarder } = federation;

  /** @throws MatrixError M_FORBIDDEN where the room has no such offer of the sender's, or its keys count no longer */
  async function requireOffer(roomId: RoomId, by: UserId, { token }: Signed): Promise<string> {
    const offer = state.findCurrent(roomId, 'm.room.third_party_invite', token);
    if (offer === undefined) throw forbidden('The room has no third-party invite with this token');
    if (offer.sender !== by) throw forbidden('The third-party invite was sent by somebody else');
    for (const [key, url] of validityUrls(offer.content)) {
      const isValid = (await needs.thirdPartyInvites?.isKeyValid(key, url)) ?? false;
      if (!isValid) throw forbidden('The identity server does not vouch for the third-party invite');
    }
    const displayName = offer.content['display_name'];
    return typeof displayName === 'string' ? displayName : '';
  }

  /** Sends the invite of an offer made in a room that we are in. Nothing, if the user has it or is in the room already. */
  async function issue({ roomId, sender: by, signed }: Offer, invitee: UserId): Promise<void> {
    const place = members.findMember(roomId, invitee)?.membership;
    if (place === 'invite' || place === 'join') return;
    const displayName = await requireOffer(roomId, by, signed);
    const content = { membership: 'invite', third_party_invite: { display_name: displayName, signed } };
    const draft = { roomId, type: 'm.room.member', sender: by, stateKey: invitee, content };
    // The rules of the room, the identity server's signature among them, before anybody is bothered with it.
    templates.build(draft);
    takeAll({ rateLimited: true }, [
      [limits.invitesPerRoom, roomId],
      [limits.invitesPerUser, invitee],
      [limits.invitesPerIssuer, by],
    ]);
    if (serverNameOf(invitee) === settings.serverName) {
      // What bears another server's name is not sent out unasked.
      const isOurs = serverNameOf(by) === settings.serverName;
      await sender.send(draft, isOurs ? {} : { alongside: (tx, event) => forwarder.forward(tx, event) });
    } else if (remote === undefined) throw forbidden('Users of other servers cannot be invited from this one');
    else await remote.invite({ userId: invitee, roomId, sender: by, content });
  }

  /** Asks the server of whoever made the offer, then the one the room was made on. */
  async function askFor({ roomId, sender: by, signed }: Offer, invitee: UserId): Promise<void> {
    const servers = new Set([serverNameOf(by), ...serverOfRoom(roomId)]);
    servers.delete(settings.serverName);
    const body = {
      type: 'm.room.member',
      room_id: roomId,
      sender: by,
      state_key: invitee,
      content: { membership: 'invite', third_party_invite: { display_name: '', signed } },
    };
    let failure: unknown = notFound('The room of a third-party invite is not known here');
    for (const destination of servers) {
      try {
        const path = federationPath('/v1/exchange_third_party_invite', roomId);
        await client.request({ destination, method: 'PUT', path, body, retries: 'short' });
        return;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  /** Gets a local user their invite. @throws MatrixError, FederationError */
  async function obtain(offer: Offer, invitee: UserId): Promise<void> {
    if (needs.isBlocked?.(offer.roomId) === true) throw forbidden('This room has been blocked on this server');
    const isHere = residence.isHere(offer.roomId);
    if (isHere && serverNameOf(offer.sender) === settings.serverName) return issue(offer, invitee);
    try {
      return await askFor(offer, invitee);
    } catch (error) {
      // Whoever made the offer may be long gone, but it stands, and anybody in the room can act on it.
      if (!isHere) throw error;
    }
    return issue(offer, invitee);
  }

  return {
    exchange: async (origin, roomId, event) => {
      residence.require(origin, roomId);
      const { type, room_id: claimedRoom, sender: by, state_key: invitee, content } = event;
      if (type !== 'm.room.member' || claimedRoom !== roomId) {
        throw invalidParam('The event must be an m.room.member event of the room in the path');
      }
      if (!isJsonObject(content) || content['membership'] !== 'invite') {
        throw invalidParam('The event is not one with membership "invite"');
      }
      const invite = content['third_party_invite'];
      const signed = isJsonObject(invite) ? readSigned(invite['signed']) : undefined;
      if (signed === undefined) throw invalidParam('third_party_invite is not signed');
      if (typeof by !== 'string' || !isUserId(by)) throw invalidParam('The sender is no user ID');
      if (typeof invitee !== 'string' || !isUserId(invitee)) throw invalidParam('The state key is no user ID');
      requireOwnUser(origin, invitee);
      if (serverNameOf(by) !== settings.serverName) throw forbidden('The sender is no user of this server');
      if (signed.mxid !== invitee) throw forbidden('The third-party invite was signed for another user');
      await issue({ roomId, sender: by, signed }, invitee);
    },

    bind: async (userId, invites) => {
      if (serverNameOf(userId) !== settings.serverName || !users.exists(userId) || users.isDeactivated(userId)) {
        throw notFound('There is no such user');
      }
      if (invites.length > MAX_INVITES) throw invalidParam(`More than ${MAX_INVITES} invites at once`);
      const offers = invites.map((invite) => readOffer(invite, userId));
      let unreachable = false;
      for (const offer of offers) {
        try {
          await obtain(offer, userId);
        } catch (error) {
          const isRefusal = error instanceof MatrixError || error instanceof FederationError;
          if (!isRefusal) throw error;
          log.info({ userId, roomId: offer.roomId, error: error.message }, 'a third-party invite came to nothing');
          unreachable ||= error instanceof FederationError && error.kind !== 'refused';
        }
      }
      if (unreachable) {
        throw new MatrixError('M_UNKNOWN', 'Not all servers of these invites could be asked', { status: 502 });
      }
    },
  };
}

/** Who signed it is found out against the keys in the room; here, whether it has the shape of something signed. */
function readSigned(value: JsonValue | undefined): Signed | undefined {
  if (!isJsonObject(value)) return undefined;
  const { mxid, token, signatures } = value;
  if (typeof mxid !== 'string' || typeof token !== 'string' || !isJsonObject(signatures)) return undefined;
  if (Object.keys(signatures).length === 0) return undefined;
  return { ...value, mxid, token, signatures };
}

/** @throws MatrixError M_INVALID_PARAM */
function readOffer(invite: JsonValue, userId: UserId): Offer {
  if (!isJsonObject(invite)) throw invalidParam('An invite is not an object');
  const { room_id: roomId, sender, mxid } = invite;
  const signed = readSigned(invite['signed']);
  if (signed === undefined) throw invalidParam('An invite is not signed');
  if (mxid !== userId || signed.mxid !== userId) throw invalidParam('An invite is for another user');
  if (typeof roomId !== 'string' || !isRoomId(roomId)) throw invalidParam('An invite names no room');
  if (typeof sender !== 'string' || !isUserId(sender)) throw invalidParam('An invite names no sender');
  return { roomId, sender, signed };
}

/** Up to room version 11 a room is called after the server it was made on, which is in it more often than not. */
function serverOfRoom(roomId: RoomId): ServerName[] {
  const colon = roomId.indexOf(':');
  const server = roomId.slice(colon + 1);
  return colon > 0 && isServerName(server) ? [server] : [];
}
