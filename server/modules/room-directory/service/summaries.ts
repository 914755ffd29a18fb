import type { RoomId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import { foldCase } from '../../../matrix/push-rules/glob.ts';
import type { MembershipReader, PersistedEvent, Projection, StateReader } from '../../../rooms/types.ts';
import type { RoomSummary, StoredSummary, SummaryStore } from '../store/summaries.ts';

/** The state (with an empty state key) that a summary is made of. */
const FACTS: ReadonlySet<string> = new Set([
  'm.room.create',
  'm.room.name',
  'm.room.topic',
  'm.room.avatar',
  'm.room.canonical_alias',
  'm.room.join_rules',
  'm.room.history_visibility',
  'm.room.guest_access',
  'm.room.encryption',
]);

export interface SummaryNeeds {
  readonly state: Pick<StateReader, 'findCurrent'>;
  readonly members: Pick<MembershipReader, 'countMembers'>;
  readonly store: SummaryStore;
}

/** Keeps each room's summary true in the same write that changes the room. */
export function summaryProjection({ state, members, store }: SummaryNeeds): Projection {
  return {
    name: 'room-directory',
    project: (tx, event, { stateDeltas, redacted }) => {
      const { roomId, version } = event;
      const isFact = (type: string, stateKey: string | undefined): boolean => stateKey === '' && FACTS.has(type);
      const hasNewFacts =
        stateDeltas.some(({ type, stateKey }) => isFact(type, stateKey)) ||
        // What was redacted may still be the room's state, with less in it.
        (redacted !== undefined && isFact(redacted.type, redacted.stateKey));
      if (hasNewFacts) {
        const find = (type: string): PersistedEvent | undefined => state.findCurrent(roomId, type, '');
        const summary = summarise(find, version.id, members.countMembers(roomId, 'join'));
        store.put(tx, roomId, summary, searchTextOf(summary, find('m.room.canonical_alias')?.content));
      } else if (stateDeltas.some(({ type }) => type === 'm.room.member')) {
        store.setMembers(tx, roomId, members.countMembers(roomId, 'join'));
      }
    },
  };
}

function summarise(
  find: (type: string) => PersistedEvent | undefined,
  roomVersion: string,
  joinedMembers: number,
): RoomSummary {
  const read = (type: string, key: string): string | undefined => textOf(find(type)?.content[key]);
  const create = find('m.room.create')?.content ?? {};
  const topic = find('m.room.topic')?.content;
  return {
    name: read('m.room.name', 'name'),
    topic: topic === undefined ? undefined : plainTopicOf(topic),
    avatarUrl: read('m.room.avatar', 'url'),
    canonicalAlias: read('m.room.canonical_alias', 'alias'),
    joinedMembers,
    worldReadable: read('m.room.history_visibility', 'history_visibility') === 'world_readable',
    guestCanJoin: read('m.room.guest_access', 'guest_access') === 'can_join',
    joinRule: read('m.room.join_rules', 'join_rule') ?? 'invite',
    roomType: textOf(create['type']),
    encryption: read('m.room.encryption', 'algorithm'),
    roomVersion,
    federates: create['m.federate'] !== false,
  };
}

/** The text/plain form of a topic, which is also what a part that names no type is (spec: "m.room.topic"). */
function plainTopicOf(content: JsonObject): string | undefined {
  const block = content['m.topic'];
  const parts = isJsonObject(block) ? block['m.text'] : undefined;
  for (const part of Array.isArray(parts) ? parts : []) {
    if (!isJsonObject(part)) continue;
    const { mimetype = 'text/plain', body } = part;
    if (mimetype === 'text/plain' && typeof body === 'string') return textOf(body);
  }
  return textOf(content['topic']);
}

function textOf(value: JsonValue | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function searchTextOf({ name, topic, canonicalAlias }: RoomSummary, aliasContent: JsonObject | undefined): string {
  const others = aliasContent?.['alt_aliases'];
  const aliases = Array.isArray(others) ? others.filter((alias: JsonValue) => typeof alias === 'string') : [];
  return foldCase([name, topic, canonicalAlias, ...aliases].filter((text) => text !== undefined).join('\n'));
}

/** What rooms show of themselves, for whoever lists or previews them. */
export interface RoomSummaries {
  /** Of a room this server has the state of; costs one look-up. */
  find(roomId: RoomId): RoomSummary | undefined;
  /** The next ones after a room, by ID; an empty text stands before all. For people to look at, not for every request. */
  listAfter(roomId: string, limit: number): readonly StoredSummary[];
}
