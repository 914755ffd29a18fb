import type { Requester } from '../../../http/route.ts';
import type { RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import { formatTimelineToken } from '../../../rooms/timeline-token.ts';
import type { EventReader, PersistedEvent, StateReader, Timeline, Visibility } from '../../../rooms/types.ts';
import type { ClientEventFormatter } from '../../../sync/client-event.ts';
import { turns } from '../../../util/turns.ts';
import { type Batch, type Criteria, formatBatch, type GroupKey } from './criteria.ts';
import type { Findings, Found } from './find.ts';
import { highlightsOf } from './query.ts';

export interface ShowNeeds {
  readonly events: Pick<EventReader, 'listEvents' | 'findEvent'>;
  readonly state: Pick<StateReader, 'currentState' | 'stateAfter' | 'stateBefore'>;
  readonly timeline: Pick<Timeline, 'page' | 'tokenAt'>;
  readonly visibility: Pick<Visibility, 'accessOf' | 'filterVisible'>;
  readonly formatter: Pick<ClientEventFormatter, 'format' | 'formatOne'>;
  readonly ignoredUsers: (userId: UserId) => ReadonlySet<UserId>;
}

/** State events formatted in one go; others get their turn after each. */
const STATE_AT_ONCE = 250;

/** The findings as a client sees them (spec: search.yaml, "Result Room Events"). */
export async function show(
  needs: ShowNeeds,
  requester: Requester,
  criteria: Criteria,
  batch: Batch,
  findings: Findings,
): Promise<JsonObject> {
  const { results, rest, next } = findings;
  const shown: JsonObject[] = [];
  for (const found of results) {
    shown.push({
      rank: found.rank,
      result: needs.formatter.formatOne(found.event, requester, { bundle: true }),
      ...(criteria.context === undefined
        ? {}
        : { context: showContext(needs, requester, criteria.context, found.event) }),
    });
    if (criteria.context !== undefined) await turns.wait();
  }
  const groups = [...criteria.groupBy].map((key) => [key, showGroups(key, batch, findings)]);
  return {
    count: batch.seen + results.length + rest.length,
    highlights: highlightsOf(
      criteria.query,
      results.map(({ text }) => text),
    ),
    results: shown,
    ...(groups.length === 0 ? {} : { groups: Object.fromEntries(groups) }),
    ...(criteria.withState ? { state: await showStates(needs, requester, results) } : {}),
    ...(next === undefined ? {} : { next_batch: formatBatch({ ...next, group: batch.group }) }),
  };
}

function showGroups(key: GroupKey, { group }: Batch, { results, rest, given, next }: Findings): JsonObject {
  const valueOf = (event: Pick<PersistedEvent, 'roomId' | 'sender'>): string =>
    key === 'room_id' ? event.roomId : event.sender;
  const more = new Set(rest.map(valueOf));
  const members = Map.groupBy(results, ({ event }) => valueOf(event));
  const shown = [...members].map(([value, found], index): [string, JsonObject] => {
    const isMore = next !== undefined && more.has(value);
    return [
      value,
      {
        order: index + 1,
        results: found.map(({ event }) => event.eventId),
        ...(isMore ? { next_batch: goOn(found) } : {}),
      },
    ];
  });
  return Object.fromEntries(shown);

  function goOn(found: readonly Found[]): string {
    const [first] = found;
    if (next === undefined || first === undefined) throw new Error('a group without results does not go on');
    const { roomId, sender } = first.event;
    const isSame = (event: Pick<PersistedEvent, 'roomId' | 'sender'>): boolean =>
      valueOf(event) === valueOf(first.event);
    const seen = group === undefined ? given.filter(isSame).length : next.seen;
    return formatBatch({
      before: next.before,
      seen,
      group: key === 'room_id' ? { key, value: roomId } : { key, value: sender },
    });
  }
}

function showContext(
  { timeline, visibility, state, events, formatter, ignoredUsers }: ShowNeeds,
  requester: Requester,
  asked: NonNullable<Criteria['context']>,
  event: PersistedEvent,
): JsonObject {
  const ignored = ignoredUsers(requester.userId);
  const page = (direction: 'b' | 'f', limit: number): readonly PersistedEvent[] => {
    if (limit === 0) return [];
    const found = timeline.page({
      roomId: event.roomId,
      from: timeline.tokenAt(event, direction === 'b' ? 'before' : 'after'),
      direction,
      limit,
      accept: ({ stateKey, sender }) => stateKey !== undefined || !ignored.has(sender),
    });
    return visibility.filterVisible(requester.userId, found.events);
  };
  const before = page('b', asked.before);
  const after = page('f', asked.after);
  const [first, last] = [before.at(-1) ?? event, after.at(-1) ?? event];

  function showProfiles(): JsonObject {
    const at = state.stateBefore(last.eventId);
    const senders = new Set([...before, event, ...after].map(({ sender }) => sender));
    const profiles = [...senders].flatMap((sender): [string, JsonObject][] => {
      const eventId = at?.find('m.room.member', sender);
      const content = eventId === undefined ? undefined : events.findEvent(eventId)?.content;
      if (content === undefined) return [];
      const { displayname, avatar_url: avatarUrl } = content;
      return [
        [
          sender,
          {
            ...(typeof displayname === 'string' ? { displayname } : {}),
            ...(typeof avatarUrl === 'string' ? { avatar_url: avatarUrl } : {}),
          },
        ],
      ];
    });
    return Object.fromEntries(profiles);
  }

  return {
    start: formatTimelineToken(timeline.tokenAt(first, 'before')),
    end: formatTimelineToken(timeline.tokenAt(last, 'after')),
    events_before: formatter.format(before, requester, { bundle: true }),
    events_after: formatter.format(after, requester, { bundle: true }),
    ...(asked.profiles ? { profile_info: showProfiles() } : {}),
  };
}

/** The state of each room, as it is, or as it was when the searcher left. */
async function showStates(
  { visibility, state, events, formatter }: ShowNeeds,
  requester: Requester,
  results: readonly Found[],
): Promise<JsonObject> {
  const states: [RoomId, readonly JsonObject[]][] = [];
  for (const roomId of new Set(results.map(({ event }) => event.roomId))) {
    const access = visibility.accessOf(requester.userId, roomId);
    if (access === undefined || access.kind === 'peek') continue;
    const at = access.kind === 'joined' ? state.currentState(roomId) : state.stateAfter(access.member.eventId);
    const ids = [...(at?.entries() ?? [])].map(([, eventId]) => eventId);
    const shown: JsonObject[] = [];
    for (let from = 0; from < ids.length; from += STATE_AT_ONCE) {
      if (from > 0) await turns.wait();
      shown.push(...formatter.format(events.listEvents(ids.slice(from, from + STATE_AT_ONCE)), requester));
    }
    states.push([roomId, shown]);
  }
  return Object.fromEntries(states);
}
