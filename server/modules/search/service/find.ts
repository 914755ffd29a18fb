import type { Requester } from '../../../http/route.ts';
import type { RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { EventReader, PersistedEvent, StateReader, Visibility } from '../../../rooms/types.ts';
import { eventMatcher, filterRelated, type RelatedEvents } from '../../../sync/filter-match.ts';
import { turns } from '../../../util/turns.ts';
import type { Match, SearchStore } from '../store.ts';
import type { Batch, Criteria } from './criteria.ts';
import { type EventText, textOf, textOfEdit } from './documents.ts';
import { rankOf, toExpression } from './query.ts';

export interface FindNeeds {
  readonly store: Pick<SearchStore, 'listMatches'>;
  readonly events: Pick<EventReader, 'listEvents'>;
  readonly state: Pick<StateReader, 'findCurrent'>;
  readonly visibility: Pick<Visibility, 'accessOf' | 'filterVisible'>;
  readonly ignoredUsers: (userId: UserId) => ReadonlySet<UserId>;
  readonly related: RelatedEvents;
}

/** An event that was searched for and that the searcher may see. */
export interface Found {
  readonly event: PersistedEvent;
  readonly text: EventText;
  readonly rank: number;
  readonly nid: number;
}

/** What a search found, in the order asked for. */
export interface Findings {
  readonly results: readonly Found[];
  /** What there is besides: not looked at closely, and not all of it if there is very much. */
  readonly rest: readonly Pick<Match, 'roomId' | 'sender'>[];
  /** What was given so far, on earlier pages too where these were found again. */
  readonly given: readonly Pick<Match, 'roomId' | 'sender'>[];
  /** Where the search goes on, whatever the group; undefined if there is nothing more. */
  readonly next: Omit<Batch, 'group'> | undefined;
}

/** Matches read, and events looked at, in one go: some milliseconds of work. */
const MATCHES_AT_ONCE = 500;
const EVENTS_AT_ONCE = 50;
/** Matches read for one page, those in rooms of others included. A search by time goes on from there. */
const MOST_MATCHES = 200_000;
/** Matches of which the best are sought. Of what is found more often, the older ones are passed over. */
const MOST_RANKED = 2_000;
/** Matches that are counted behind a page. */
const MOST_COUNTED = 5_000;

/** Finds what the requester searches for, as far as they may see it. Others get their turn in between. */
export async function find(
  needs: FindNeeds,
  requester: Requester,
  criteria: Criteria,
  batch: Batch,
  signal: AbortSignal,
): Promise<Findings> {
  const expression = toExpression(criteria.query, criteria.fields);
  const search = new Searching(needs, requester, criteria, batch);
  if (expression === undefined || search.isVain) return { results: [], rest: [], given: [], next: undefined };
  const matches = readMatches(needs, expression, batch.before, search, signal);
  return criteria.order === 'recent'
    ? findRecent(search, matches, criteria, batch)
    : findBest(search, matches, criteria, batch);
}

/** Those of the matches that are in rooms the searcher may search, newest first, some at a time. */
async function* readMatches(
  { store }: FindNeeds,
  expression: string,
  start: number,
  search: Searching,
  signal: AbortSignal,
): AsyncGenerator<readonly Match[]> {
  let before = start;
  for (let read = 0; read < MOST_MATCHES; read += MATCHES_AT_ONCE) {
    await turns.wait();
    signal.throwIfAborted();
    const chunk = store.listMatches(expression, before, MATCHES_AT_ONCE);
    yield chunk.filter((match) => search.mayHold(match));
    const last = chunk.at(-1);
    if (last === undefined || chunk.length < MATCHES_AT_ONCE) return;
    before = last.nid;
  }
  search.readTo = before;
}

async function findRecent(
  search: Searching,
  matches: AsyncGenerator<readonly Match[]>,
  { limit }: Criteria,
  { seen }: Batch,
): Promise<Findings> {
  const results: Found[] = [];
  const rest: Match[] = [];
  for await (const chunk of matches) {
    for (let at = 0; at < chunk.length; at += EVENTS_AT_ONCE) {
      const slice = chunk.slice(at, at + EVENTS_AT_ONCE);
      if (results.length >= limit) {
        rest.push(...slice);
        continue;
      }
      const found = search.look(slice);
      const taken = found.slice(0, limit - results.length);
      results.push(...taken);
      const last = taken.at(-1);
      if (results.length === limit && last !== undefined) rest.push(...slice.filter(({ nid }) => nid < last.nid));
      await turns.wait();
    }
    if (rest.length >= MOST_COUNTED) break;
  }
  // Where too much was read, the search goes on from there.
  const last = rest.length > 0 || results.length === limit ? results.at(-1)?.nid : undefined;
  const before = rest.length > 0 ? last : search.readTo && (last ?? search.readTo);
  const next = before === undefined ? undefined : { before, seen: seen + results.length };
  return { results, rest, given: results.map(({ event }) => event), next };
}

async function findBest(
  search: Searching,
  matches: AsyncGenerator<readonly Match[]>,
  { limit }: Criteria,
  { seen }: Batch,
): Promise<Findings> {
  const found: Found[] = [];
  for await (const chunk of matches) {
    for (let at = 0; at < chunk.length; at += EVENTS_AT_ONCE) {
      found.push(...search.look(chunk.slice(at, at + EVENTS_AT_ONCE)));
      await turns.wait();
    }
    if (found.length >= MOST_RANKED) break;
  }
  const newest = Math.max(0, ...found.map(({ nid }) => nid));
  const sorted = found.toSorted((a, b) => b.rank - a.rank || b.nid - a.nid);
  const results = sorted.slice(seen, seen + limit);
  const events = sorted.map(({ event }) => event);
  const [given, rest] = [events.slice(0, seen + limit), events.slice(seen + limit)];
  const isMore = rest.length > 0 && results.length > 0;
  // What is said meanwhile must not move the rest.
  return { results, rest, given, next: isMore ? { before: newest + 1, seen: seen + results.length } : undefined };
}

/** One search: what was found out about rooms is kept. */
class Searching {
  readonly #needs: FindNeeds;
  readonly #userId: UserId;
  readonly #criteria: Criteria;
  readonly #group: Batch['group'];
  readonly #ignored: ReadonlySet<UserId>;
  readonly #matcher;
  readonly #only: ReadonlySet<RoomId> | undefined;
  readonly #rooms = new Map<RoomId, boolean>();
  /** Where reading was given up, if it was. */
  readTo: number | undefined;

  constructor(needs: FindNeeds, { userId }: Requester, criteria: Criteria, { group }: Batch) {
    this.#needs = needs;
    this.#userId = userId;
    this.#criteria = criteria;
    this.#group = group;
    this.#ignored = needs.ignoredUsers(userId);
    this.#matcher = eventMatcher(criteria.filter);
    this.#only = criteria.rooms === undefined ? undefined : this.#withPredecessors(criteria.rooms);
  }

  /** Nothing can be found. */
  get isVain(): boolean {
    return this.#matcher.none || this.#only?.size === 0;
  }

  /** Whether the searcher may find anything in the room, and wants this sender. Cheap: nothing is loaded for it. */
  mayHold({ roomId, sender }: Match): boolean {
    if (this.#only?.has(roomId) === false || !this.#matcher.allowsRoom(roomId)) return false;
    if (this.#group !== undefined && this.#group.value !== (this.#group.key === 'sender' ? sender : roomId))
      return false;
    const { senders, notSenders } = this.#criteria.filter;
    if (senders?.includes(sender) === false || notSenders?.includes(sender) === true) return false;
    return this.#isSearched(roomId);
  }

  /** Those of some matches that the searcher may see, in the same order. */
  look(matches: readonly Match[]): Found[] {
    const { events, visibility, related } = this.#needs;
    const seen = (ids: readonly PersistedEvent['eventId'][]): ReadonlyMap<string, PersistedEvent> => {
      const visible = visibility.filterVisible(this.#userId, events.listEvents(ids));
      return new Map(visible.map((event) => [event.eventId, event]));
    };
    const originals = seen(matches.map((match) => match.eventId));
    const wanted = filterRelated(
      [...originals.values()].filter((event) => this.#isWanted(event)),
      this.#criteria.filter,
      related,
    );
    const wantedIds = new Set(wanted.map((event) => event.eventId));
    const edits = seen(matches.flatMap((match) => match.editId ?? []));
    return matches.flatMap((match): Found[] => {
      const event = originals.get(match.eventId);
      if (event === undefined || !wantedIds.has(match.eventId)) return [];
      // An edit that the searcher may not see must not be guessed at by searching for what it says.
      const edit = match.editId === undefined ? undefined : edits.get(match.editId);
      const text = match.editId === undefined ? textOf(event) : edit && textOfEdit(edit);
      if (text === undefined) return [];
      return [{ event, text, rank: rankOf(this.#criteria.query, text), nid: match.nid }];
    });
  }

  #isWanted(event: PersistedEvent): boolean {
    if (event.redactedBy !== undefined || !this.#matcher.matches(event)) return false;
    return event.stateKey !== undefined || !this.#ignored.has(event.sender);
  }

  /** Spec: rooms the user is or was in, unless they are encrypted. */
  #isSearched(roomId: RoomId): boolean {
    const known = this.#rooms.get(roomId);
    if (known !== undefined) return known;
    const access = this.#needs.visibility.accessOf(this.#userId, roomId);
    const isMember = access !== undefined && access.kind !== 'peek';
    const isSearched = isMember && this.#needs.state.findCurrent(roomId, 'm.room.encryption', '') === undefined;
    this.#rooms.set(roomId, isSearched);
    return isSearched;
  }

  /** Who asks for a room that was upgraded asks for what was said in it before, too. */
  #withPredecessors(rooms: readonly RoomId[]): ReadonlySet<RoomId> {
    const all = new Set(rooms);
    for (const roomId of all) {
      const create = this.#needs.state.findCurrent(roomId, 'm.room.create', '');
      const predecessor = create?.content['predecessor'];
      if (typeof predecessor !== 'object' || predecessor === null || Array.isArray(predecessor)) continue;
      const before = (predecessor as { room_id?: unknown }).room_id;
      if (typeof before === 'string') all.add(before as RoomId);
    }
    return all;
  }
}
