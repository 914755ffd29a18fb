import { checkCanonical } from '../../../matrix/canonical-json.ts';
import { isRoomId, type RoomAlias, type RoomId, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { RoomVersion } from '../../../matrix/room-versions.ts';
import type { PersistedEvent } from '../../../rooms/types.ts';
import type { UpgradeNeeds } from './needs.ts';
import { replacementLevels } from './power-levels.ts';

/** A state event of the room that replaces another. */
export interface StateDraft {
  readonly type: string;
  readonly stateKey: string;
  readonly content: JsonObject;
}

/** What the replacement is made of. */
export interface Replacement {
  readonly createContent: JsonObject;
  /** The events after the creator's join. */
  readonly state: readonly StateDraft[];
  /** What is left of the old room's m.room.canonical_alias; undefined if it stays as it is. */
  readonly oldCanonicalAlias: JsonObject | undefined;
}

const GUEST_ACCESS = 'm.room.guest_access';

/**
 * State that means the same whoever set it (spec: "Room Upgrades", server behaviour 3). Join rules, power levels and
 * aliases need more than copying.
 */
const COPIED: readonly string[] = [
  'm.room.history_visibility',
  GUEST_ACCESS,
  'm.room.encryption',
  'm.room.server_acl',
  'm.room.name',
  'm.room.avatar',
  'm.room.topic',
];
const SPACE = 'm.space';
const CANONICAL_ALIAS = 'm.room.canonical_alias';

/** Works out the replacement of a room for `user`. Reads, and changes nothing. */
export function planReplacement(
  {
    events,
    state,
    members,
    timeline,
    directory,
  }: Pick<UpgradeNeeds, 'events' | 'state' | 'members' | 'timeline' | 'directory'>,
  {
    roomId,
    create,
    version,
    user,
    additionalCreators,
  }: {
    readonly roomId: RoomId;
    readonly create: PersistedEvent;
    readonly version: RoomVersion;
    readonly user: UserId;
    readonly additionalCreators: readonly UserId[];
  },
): Replacement {
  const find = (type: string): PersistedEvent | undefined => state.findCurrent(roomId, type, '');
  const others = version.privilegedCreators
    ? [...new Set(additionalCreators)].filter((creator) => creator !== user)
    : [];
  const creators = [user, ...others];

  const copied = COPIED.flatMap((type): StateDraft[] => {
    // A room that says nothing of guests keeps them out; its replacement says it outright.
    const content = find(type)?.content ?? (type === GUEST_ACCESS ? { guest_access: 'forbidden' } : undefined);
    return content === undefined || isEmpty(content) ? [] : [{ type, stateKey: '', content }];
  });
  const joinRules = find('m.room.join_rules')?.content;
  if (joinRules !== undefined) {
    copied.unshift({ type: 'm.room.join_rules', stateKey: '', content: joinRulesFor(joinRules, version) });
  }
  const bans = listBans(roomId, { members, state }).filter(
    (ban) => !creators.some((creator) => creator === ban.stateKey),
  );
  const aliases = splitCanonicalAlias(find(CANONICAL_ALIAS)?.content, directory.listAliases(roomId));
  const oldLevels = find('m.room.power_levels');
  const levels =
    oldLevels === undefined
      ? undefined
      : replacementLevels({
          old: oldLevels,
          oldCreate: create,
          version,
          user,
          creators,
          bannedUsers: bans.map((ban) => ban.stateKey),
        });
  const levelsDraft = (content: JsonObject | undefined): StateDraft[] =>
    content === undefined ? [] : [{ type: 'm.room.power_levels', stateKey: '', content }];
  const isSpace = create.content['type'] === SPACE;

  const drafts = [
    ...levelsDraft(levels?.first),
    ...copied,
    ...(isSpace ? listOfType(roomId, 'm.space.child', { events, state }) : []),
    ...listOfType(roomId, 'm.space.parent', { events, state }),
    ...(aliases.moved === undefined ? [] : [{ type: CANONICAL_ALIAS, stateKey: '', content: aliases.moved }]),
    ...bans,
    ...levelsDraft(levels?.final),
  ];
  return {
    createContent: createContentFor(create, { roomId, lastEvent: timeline.findLatest(roomId), others }),
    state: version.strictCanonicalJson ? drafts.map(withoutFractions) : drafts,
    oldCanonicalAlias: aliases.kept,
  };
}

function createContentFor(
  create: PersistedEvent,
  { roomId, lastEvent, others }: { roomId: RoomId; lastEvent: PersistedEvent | undefined; others: readonly UserId[] },
): JsonObject {
  const { type, 'm.federate': federate } = create.content;
  return {
    predecessor: { room_id: roomId, ...(lastEvent === undefined ? {} : { event_id: lastEvent.eventId }) },
    ...(typeof type === 'string' ? { type } : {}),
    ...(federate === false ? { 'm.federate': false } : {}),
    ...(others.length === 0 ? {} : { additional_creators: others }),
  };
}

/** Up to version 5 rooms may hold numbers that no event of a later one can. */
function withoutFractions(draft: StateDraft): StateDraft {
  if (checkCanonical(draft.content) === undefined) return draft;
  const truncate = (value: JsonValue): JsonValue => {
    if (typeof value === 'number') {
      return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, Math.trunc(value)));
    }
    if (Array.isArray(value)) return value.map(truncate);
    return isJsonObject(value) ? truncateAll(value) : value;
  };
  const truncateAll = (object: JsonObject): JsonObject =>
    Object.fromEntries(Object.entries(object).map(([key, value]) => [key, truncate(value)]));
  return { ...draft, content: truncateAll(draft.content) };
}

/** In a version that does not know the rule nobody could join: then those who are invited can. */
function joinRulesFor(content: JsonObject, version: RoomVersion): JsonObject {
  const { join_rule: rule, ...rest } = content;
  const isKnown =
    rule === 'knock'
      ? version.knocking
      : rule === 'restricted'
        ? version.restrictedJoins
        : rule !== 'knock_restricted' || version.knockRestrictedJoins;
  if (isKnown) return content;
  // Without asking to be let in, a room may still be open to members of others.
  if (rule === 'knock_restricted' && version.restrictedJoins) return { ...rest, join_rule: 'restricted' };
  return { join_rule: 'invite' };
}

type StateParts = Pick<UpgradeNeeds, 'events' | 'state'>;

/** Those with an empty content have been taken away. */
function listOfType(roomId: RoomId, type: string, { events, state }: StateParts): StateDraft[] {
  return state
    .currentState(roomId)
    .listType(type)
    .flatMap(([stateKey, eventId]): StateDraft[] => {
      const content = events.findEvent(eventId)?.content ?? {};
      return isEmpty(content) ? [] : [{ type, stateKey, content }];
    });
}

function listBans(roomId: RoomId, { members, state }: Pick<UpgradeNeeds, 'members' | 'state'>): StateDraft[] {
  return members.listMembers(roomId, 'ban').flatMap(({ userId }): StateDraft[] => {
    const content = state.findCurrent(roomId, 'm.room.member', userId)?.content;
    return content === undefined ? [] : [{ type: 'm.room.member', stateKey: userId, content }];
  });
}

/** Parts a room's advertised aliases into those that are about to lead to the new room, and those that stay. */
function splitCanonicalAlias(
  content: JsonObject | undefined,
  moving: readonly RoomAlias[],
): { moved: JsonObject | undefined; kept: JsonObject | undefined } {
  if (content === undefined) return { moved: undefined, kept: undefined };
  const { alias, alt_aliases: others, ...rest } = content;
  const isMoving = (name: JsonValue | undefined): boolean => moving.some((moved) => moved === name);
  const list: readonly JsonValue[] = Array.isArray(others) ? others : [];
  const movedList = list.filter(isMoving);
  if (!isMoving(alias) && movedList.length === 0) return { moved: undefined, kept: undefined };
  const write = (main: JsonValue | undefined, alternatives: readonly JsonValue[]): JsonObject => ({
    ...(main === undefined ? {} : { alias: main }),
    ...(alternatives.length === 0 ? {} : { alt_aliases: alternatives }),
  });
  return {
    moved: write(isMoving(alias) ? alias : undefined, movedList),
    kept: {
      ...rest,
      ...write(
        isMoving(alias) ? undefined : alias,
        list.filter((name) => !isMoving(name)),
      ),
    },
  };
}

function isEmpty(content: JsonObject): boolean {
  return Object.keys(content).length === 0;
}

/** The room that a room says it replaces. */
export function predecessorOf(create: PersistedEvent): RoomId | undefined {
  const { predecessor } = create.content;
  const roomId = isJsonObject(predecessor) ? predecessor['room_id'] : undefined;
  return typeof roomId === 'string' && isRoomId(roomId) ? roomId : undefined;
}
