import { forbidden, MatrixError, notFound } from '../../../matrix/errors.ts';
import {
  isRoomAlias,
  type RoomAlias,
  type RoomId,
  type ServerName,
  serverNameOf,
} from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../../matrix/json.ts';
import type { PersistedEvent, RoomMember } from '../../../rooms/types.ts';
import type { Actor, AliasTarget, MembershipNeeds } from './needs.ts';
import { type ChangeOptions, type Places, requireActive, requireUser, takeAll } from './places.ts';
import { type RestrictedJoins, unableToGrantJoin } from './restricted-joins.ts';

/** The proof that a third-party invite was meant for a user (spec: "Third-party invites"). */
export type ThirdPartySigned = JsonObject & {
  readonly sender: string;
  readonly mxid: string;
  readonly token: string;
  readonly signatures: JsonObject;
};

export interface JoinOptions extends ChangeOptions {
  /** Servers to ask if this one is not in the room. */
  readonly via?: readonly ServerName[];
  readonly thirdPartySigned?: ThirdPartySigned | undefined;
}

/** The ways into a room that users go themselves. */
export interface Joins {
  /** Resolves with the room that was joined; at once, if the user is in it and has nothing to add. */
  join(by: Actor, room: RoomId | RoomAlias, options?: JoinOptions): Promise<RoomId>;
  knock(by: Actor, room: RoomId | RoomAlias, options?: JoinOptions): Promise<RoomId>;
  /** As `join`, in a room of this server's, giving the event. */
  joinHere(by: Actor, roomId: RoomId, options: ChangeOptions): Promise<PersistedEvent>;
  knockHere(by: Actor, roomId: RoomId, options: ChangeOptions): Promise<PersistedEvent>;
  /** Guests may join where the room says so (spec: "Guest Access"). */
  isOpenToGuests(roomId: RoomId): boolean;
}

export function createJoins(needs: MembershipNeeds, places: Places, restricted: RestrictedJoins): Joins {
  const { settings, limits, state, aliases, remote, thirdPartyInvites, sender } = needs;

  async function resolve(room: RoomId | RoomAlias, via: readonly ServerName[]): Promise<AliasTarget> {
    if (!isRoomAlias(room)) return { roomId: room, servers: via };
    const target = await aliases.find(room);
    if (target === undefined) throw notFound(`There is no room alias ${room}`);
    return { roomId: target.roomId, servers: [...new Set([...via, ...target.servers])] };
  }

  /** The servers to ask about a room we are not in: those the client named, and where the invite came from. */
  function serversFor(servers: readonly ServerName[], member: RoomMember | undefined): readonly ServerName[] {
    const inviter = member?.membership === 'invite' ? [serverNameOf(member.sender)] : [];
    return [...new Set([...servers, ...inviter])].filter((server) => server !== settings.serverName);
  }

  function isOpenToGuests(roomId: RoomId): boolean {
    return state.findCurrent(roomId, 'm.room.guest_access', '')?.content['guest_access'] === 'can_join';
  }

  /** `servers`: those to ask if this one is not in the room. */
  function checkMayTry(roomId: RoomId, member: RoomMember | undefined, servers: readonly ServerName[] = []): void {
    places.requireOpen(roomId);
    // Of a room that this server is not in, it does not hear that a ban was lifted.
    const mayHaveChanged = remote !== undefined && servers.length > 0 && !places.isHere(roomId);
    if (member?.membership === 'ban' && !mayHaveChanged) throw forbidden('You are banned from this room');
  }

  function limitJoin(by: Actor, roomId: RoomId, kind: 'joinsLocal' | 'joinsRemote'): void {
    takeAll(by, [
      [limits[kind], by.userId],
      [limits.joinsPerRoom, roomId],
    ]);
  }

  /** For a room we are in. Says who vouches for the join, where somebody has to, or that only other servers can. */
  function findWayIn(
    by: Actor,
    roomId: RoomId,
    member: RoomMember | undefined,
  ): { readonly authoriser?: string; readonly elsewhere?: readonly ServerName[] } {
    if (member?.membership === 'join' || member?.membership === 'invite') return {};
    const allowed = restricted.listAllowedRooms(roomId);
    if (allowed === undefined) return {};
    restricted.checkConditions(by.userId, allowed);
    const authoriser = restricted.findAuthoriser(roomId);
    return authoriser === undefined ? { elsewhere: restricted.listAuthorisingServers(roomId) } : { authoriser };
  }

  function checkGuest(by: Actor, roomId: RoomId, member: RoomMember | undefined): void {
    if (by.isGuest && member?.membership !== 'join' && !isOpenToGuests(roomId)) {
      throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests may not join this room');
    }
  }

  /** Nothing is awaited between the checks and the event, so nothing can change in between. */
  /** Whether a room of other servers wants guests can only be told once its state is here. */
  async function checkGuestWithin(by: Actor, roomId: RoomId): Promise<void> {
    if (!by.isGuest || isOpenToGuests(roomId)) return;
    const { userId } = by;
    const content = { membership: 'leave' };
    await needs.sender.send({ roomId, type: 'm.room.member', sender: userId, stateKey: userId, content });
    throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests may not join this room');
  }

  async function joinHere(by: Actor, roomId: RoomId, options: ChangeOptions): Promise<PersistedEvent> {
    requireActive(by);
    const { userId } = by;
    const member = places.find(roomId, userId);
    checkMayTry(roomId, member);
    checkGuest(by, roomId, member);
    const { authoriser, elsewhere } = findWayIn(by, roomId, member);
    if (elsewhere !== undefined) throw unableToGrantJoin();
    const content = places.contentFor(userId, 'join', options.content);
    if (member?.membership !== 'join') limitJoin(by, roomId, 'joinsLocal');
    return places.change(
      {
        sender: userId,
        roomId,
        target: userId,
        content: authoriser === undefined ? content : { ...content, join_authorised_via_users_server: authoriser },
      },
      options,
    );
  }

  async function joinElsewhere(
    by: Actor,
    roomId: RoomId,
    servers: readonly ServerName[],
    options: ChangeOptions,
  ): Promise<void> {
    if (remote === undefined || servers.length === 0) {
      throw notFound('This room is not known here, and there is no server to ask about it');
    }
    limitJoin(by, roomId, 'joinsRemote');
    const { userId } = by;
    await remote.join({ userId, roomId, servers, content: places.contentFor(userId, 'join', options.content) });
  }

  /** Turns a third-party invite into a common one, so that the join can follow (auth rule 5.4.1 of m.room.member). */
  async function redeem(by: Actor, roomId: RoomId, signed: ThirdPartySigned): Promise<void> {
    if (signed.mxid !== by.userId) throw forbidden('The third-party invite was signed for another user');
    const offer = state.findCurrent(roomId, 'm.room.third_party_invite', signed.token);
    if (offer === undefined) throw forbidden('The room has no third-party invite with this token');
    if (offer.sender !== signed.sender || serverNameOf(offer.sender) !== settings.serverName) {
      throw forbidden('The third-party invite is not one of this server');
    }
    for (const [key, url] of validityUrls(offer.content)) {
      const isValid = (await thirdPartyInvites?.isKeyValid(key, url)) ?? false;
      if (!isValid) throw forbidden('The identity server does not vouch for the third-party invite');
    }
    const displayName = offer.content['display_name'];
    await sender.send({
      roomId,
      type: 'm.room.member',
      sender: offer.sender,
      stateKey: by.userId,
      content: {
        ...places.contentFor(by.userId, 'invite', undefined),
        third_party_invite: { display_name: typeof displayName === 'string' ? displayName : '', signed },
      },
    });
  }

  async function knockHere(by: Actor, roomId: RoomId, options: ChangeOptions): Promise<PersistedEvent> {
    requireActive(by);
    requireUser(by);
    const { userId } = by;
    const member = places.find(roomId, userId);
    checkMayTry(roomId, member);
    if (member?.membership === 'join') throw forbidden('You are in this room already');
    if (member?.membership === 'invite') throw forbidden('You are invited to this room already');
    const content = places.contentFor(userId, 'knock', options.content);
    takeAll(by, [[limits.joinsLocal, userId]]);
    return places.change({ sender: userId, roomId, target: userId, content }, options);
  }

  return {
    isOpenToGuests,
    joinHere,
    knockHere,

    join: async (by, room, options = {}) => {
      requireActive(by);
      const { roomId, servers } = await resolve(room, options.via ?? []);
      const { userId } = by;
      if (options.thirdPartySigned !== undefined && places.find(roomId, userId)?.membership !== 'join') {
        await redeem(by, roomId, options.thirdPartySigned);
      }
      const member = places.find(roomId, userId);
      const others = serversFor(servers, member);
      checkMayTry(roomId, member, others);
      if (member?.membership === 'join' && Object.keys(options.content ?? {}).length === 0) return roomId;
      if (!places.isHere(roomId)) {
        await joinElsewhere(by, roomId, others, options);
        await checkGuestWithin(by, roomId);
        return roomId;
      }
      if (remote !== undefined) {
        const { elsewhere } = findWayIn(by, roomId, member);
        if (elsewhere !== undefined && elsewhere.length > 0) {
          checkGuest(by, roomId, member);
          await joinElsewhere(by, roomId, elsewhere, options);
          return roomId;
        }
      }
      await joinHere(by, roomId, options);
      return roomId;
    },

    knock: async (by, room, options = {}) => {
      requireActive(by);
      requireUser(by);
      const { roomId, servers } = await resolve(room, options.via ?? []);
      if (places.isHere(roomId)) {
        await knockHere(by, roomId, options);
        return roomId;
      }
      const { userId } = by;
      const member = places.find(roomId, userId);
      const others = serversFor(servers, member);
      checkMayTry(roomId, member, others);
      if (remote === undefined || others.length === 0) {
        throw notFound('This room is not known here, and there is no server to ask about it');
      }
      limitJoin(by, roomId, 'joinsRemote');
      const content = places.contentFor(userId, 'knock', options.content);
      await remote.knock({ userId, roomId, servers: others, content });
      return roomId;
    },
  };
}

/** The keys of an m.room.third_party_invite that say where their validity can be asked for, each with that URL. */
export function validityUrls(content: JsonObject): (readonly [key: string, url: string])[] {
  const listed = Array.isArray(content['public_keys']) ? content['public_keys'] : [];
  return [content, ...listed].flatMap((entry): (readonly [string, string])[] => {
    if (!isJsonObject(entry)) return [];
    const { public_key: key, key_validity_url: url } = entry;
    return typeof key === 'string' && typeof url === 'string' ? [[key, url]] : [];
  });
}
