import type { RoomId, UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../../matrix/json.ts';
import type { MembershipReader, PersistedEvent, StateReader } from '../../../rooms/types.ts';

export interface RoomNameNeeds {
  readonly state: Pick<StateReader, 'findCurrent'>;
  readonly members: Pick<MembershipReader, 'findMember' | 'countMembers' | 'listStrippedState'>;
  /** A few others in a room, after whom it may be called. */
  readonly heroes: (roomId: RoomId, viewer: UserId) => readonly UserId[];
}

/** What rooms and people are called, for somebody who is told of them outside a client. */
export interface RoomNames {
  /** The name it was given; undefined if none. Who is invited knows it from the invite. */
  given(roomId: RoomId, viewer: UserId): string | undefined;
  alias(roomId: RoomId, viewer: UserId): string | undefined;
  /** After whoever is in it (spec: "Calculating the display name for a room"); undefined where nobody else is. */
  byMembers(roomId: RoomId, viewer: UserId): string | undefined;
  /** What a member is called there; undefined without a name. */
  member(roomId: RoomId, userId: UserId, viewer: UserId): string | undefined;
  /** `content` of a piece of state, of a room the viewer is in or was invited to. */
  content(roomId: RoomId, type: string, stateKey: string, viewer: UserId): JsonObject | undefined;
}

const MAX_NAMED = 2;

export function roomNames({ state, members, heroes }: RoomNameNeeds): RoomNames {
  /** Outside a room there is no state, but what came with the invite. */
  function findStripped(roomId: RoomId, viewer: UserId, type: string, stateKey: string): JsonObject | undefined {
    const stripped = members
      .listStrippedState(roomId, viewer)
      .find((event) => event['type'] === type && event['state_key'] === stateKey);
    const content = stripped?.['content'];
    return isJsonObject(content) ? content : undefined;
  }

  const content: RoomNames['content'] = (roomId, type, stateKey, viewer) => {
    const event: PersistedEvent | undefined = state.findCurrent(roomId, type, stateKey);
    if (event !== undefined) return event.content;
    return members.findMember(roomId, viewer)?.membership === 'invite'
      ? findStripped(roomId, viewer, type, stateKey)
      : undefined;
  };

  const text = (found: JsonObject | undefined, key: string): string | undefined => {
    const value = found?.[key];
    return typeof value === 'string' && value.trim() !== '' ? value : undefined;
  };

  const member: RoomNames['member'] = (roomId, userId, viewer) => {
    const known = members.findMember(roomId, userId);
    if (known !== undefined) return known.displayName;
    return text(findStripped(roomId, viewer, 'm.room.member', userId), 'displayname');
  };

  return {
    content,
    given: (roomId, viewer) => text(content(roomId, 'm.room.name', '', viewer), 'name'),
    alias: (roomId, viewer) => {
      const alias = text(content(roomId, 'm.room.canonical_alias', '', viewer), 'alias');
      return alias !== undefined && /^#[^:]*:./.test(alias) ? alias : undefined;
    },
    byMembers: (roomId, viewer) => {
      const named = heroes(roomId, viewer).filter((userId) => {
        const membership = members.findMember(roomId, userId)?.membership;
        return membership === 'join' || membership === 'invite';
      });
      const names = named.slice(0, MAX_NAMED).map((userId) => member(roomId, userId, viewer) ?? userId);
      const [first, second] = names;
      if (first === undefined || second === undefined) return first;
      const others = members.countMembers(roomId, 'join') + members.countMembers(roomId, 'invite') - 1;
      return others <= MAX_NAMED ? `${first} and ${second}` : `${first} and ${others - 1} others`;
    },
    member,
  };
}
