import { type RoomEvent, splitStateKey, type StateKey, stateKeyOf } from '../../matrix/events/event.ts';
import { type EventId, isUserId, type ServerName, type UserId } from '../../matrix/identifiers.ts';
import type { StreamPosition, WriteTx } from '../../storage/types.ts';
import { Pace } from '../../util/pace.ts';
import type { RoomHead } from '../extremities.ts';
import type { Gathered } from '../gather.ts';
import { type Case, judge } from '../judge.ts';
import { type MemberChange, membershipOf } from '../membership.ts';
import { EMPTY_STATE, type StateGroupId } from '../state-groups.ts';
import type { PersistedEvent } from '../types.ts';
import type { JoinAnswer } from './join-answer.ts';
import { malformed } from './failures.ts';
import type { RemoteParts } from './parts.ts';

/** How much is written at once, so that others get their turn in between: each some milliseconds of work. */
/** How long is worked at a stretch, ms. */
const SLICE_MS = 8;
const STATE_AT_ONCE = 500;
const MEMBERS_AT_ONCE = 200;

/**
 * Puts a join that another server has accepted into the graph of the room, with the state that server told: the room is
 * then one this server is in. What is large about it is written in slices before the one write that makes it count; until
 * then nothing looks at it, since the room is none this server is in.
 * @throws FederationError `malformed` where the join does not hold by the rules
 */
export async function enter(parts: RemoteParts, server: ServerName, answer: JoinAnswer): Promise<PersistedEvent> {
  const { db, heads } = parts;
  const { event, state } = answer;
  checkByTold(parts, server, answer);
  const told = await writeState(parts, state);
  const head = heads.find(event.roomId);
  if (head === undefined) throw new Error('the events of a room were stored without it');
  const isInside = parts.members.listLocalJoined(event.roomId).length > 0;
  // Before anything is written of the members: what is refused should leave no trace.
  db.write((tx) => {
    judged(parts, tx, server, head, event, told, isInside);
  });
  const named = isInside ? [] : await placeMembers(parts, head, told);
  const local = [...named, event.sender];
  await new Pace(parts.clock, SLICE_MS).pause();
  return db.write((tx): PersistedEvent => finish(parts, tx, server, event, { state: told, local }));
}

/**
 * Looks at the join by the state as it was told, before that is written: a state that does not even allow the join is not
 * worth the room on the disk.
 */
function checkByTold({ gatherer, events }: RemoteParts, server: ServerName, { event, state }: JoinAnswer): void {
  const gathered = gatherer.gather(event);
  if (gathered.prevEvents.length > 0) return;
  checkReferences(server, event, gathered);
  const find = (type: string, stateKey: string): RoomEvent | undefined => {
    const id = state.get(stateKeyOf(type, stateKey));
    return id === undefined ? undefined : events.find(id);
  };
  checkJoin(events, server, event, gathered, { stateBefore: { find }, currentState: undefined });
}

/** Stores the state as a state group of its own. */
async function writeState(
  { db, clock, groups, events }: RemoteParts,
  state: ReadonlyMap<StateKey, EventId>,
): Promise<StateGroupId> {
  const draft = groups.draft();
  const pace = new Pace(clock, SLICE_MS);
  let slice: (readonly [StateKey, EventId])[] = [];
  const write = async (): Promise<void> => {
    await pace.step();
    db.write((tx) => {
      for (const [key, id] of slice) {
        const eventNid = events.findNid(id);
        if (eventNid === undefined) throw new Error('an event of a state is missing');
        draft.add(tx, { ...splitStateKey(key), eventNid });
      }
    });
    slice = [];
    await db.committed();
  };
  for (const entry of state) {
    slice.push(entry);
    if (slice.length === STATE_AT_ONCE) await write();
  }
  await write();
  await pace.pause();
  const group = db.write((tx) => draft.store(tx));
  await db.committed();
  return group;
}

interface Judged {
  readonly stateBefore: StateGroupId;
  readonly gathered: Gathered;
}

/** @throws FederationError `malformed` unless the join is right by its auth events and by the state before it */
function judged(
  { gatherer, resolver, events }: RemoteParts,
  tx: WriteTx,
  server: ServerName,
  head: RoomHead,
  event: RoomEvent,
  told: StateGroupId,
  isInside: boolean,
): Judged {
  const gathered = gatherer.gather(event);
  checkReferences(server, event, gathered);
  // Where all it follows is held, nobody has to tell the state.
  const known = gathered.prevEvents.map(({ stateAfter }) => stateAfter ?? EMPTY_STATE);
  const isTold = gathered.missingPrevEvents.length > 0 || known.length === 0;
  const stateBefore = isTold
    ? resolver.resolve(tx, head.version, [told, ...known])
    : gatherer.stateBefore(tx, head, gathered.prevEvents);
  checkJoin(events, server, event, gathered, {
    stateBefore: gatherer.authState(stateBefore),
    currentState: isInside && stateBefore !== head.current ? gatherer.authState(head.current) : undefined,
  });
  return { stateBefore, gathered };
}

function checkReferences(server: ServerName, { roomId }: RoomEvent, gathered: Gathered): void {
  if (gathered.missingAuthEvents.length > 0) throw malformed(server, 'the auth chain of the join is not complete');
  const isForeign = [...gathered.authEvents, ...gathered.prevEvents].some((other) => other.roomId !== roomId);
  if (isForeign) throw malformed(server, 'the join refers to events of another room');
}

function checkJoin(
  events: RemoteParts['events'],
  server: ServerName,
  event: RoomEvent,
  { authEvents, create }: Gathered,
  states: Pick<Case, 'stateBefore' | 'currentState'>,
): void {
  const isRejected = (id: EventId): boolean => events.find(id)?.verdict === 'rejected';
  const judgement = judge({ event, authEvents, create, isRejected, ...states });
  if (judgement.verdict !== 'accepted') throw malformed(server, `the join does not hold: ${judgement.reason}`);
}

/**
 * Gives the members of other servers their places in slices. Whoever was placed by an earlier attempt that did not come to
 * its end is placed anew. Gives the users of this server that the state names.
 */
async function placeMembers(
  { db, clock, groups, events, members }: RemoteParts,
  head: RoomHead,
  told: StateGroupId,
): Promise<UserId[]> {
  const isRemote = (userId: string): userId is UserId => isUserId(userId) && !members.isLocal(userId);
  const pace = new Pace(clock, SLICE_MS);
  await pace.pause();
  const placed = new Map(members.listMembers(head.roomId).map((member) => [member.userId, member]));
  const wanted = new Set<string>();
  const local: UserId[] = [];
  const apply = async (changes: readonly MemberChange[]): Promise<void> => {
    db.write((tx) => members.apply(tx, head, tx.nextPosition(), changes));
    await db.committed();
  };

  const entries = groups.listType(told, 'm.room.member');
  for (let start = 0; start < entries.length; start += MEMBERS_AT_ONCE) {
    await pace.step();
    const changes: MemberChange[] = [];
    for (const [userId, nid] of entries.slice(start, start + MEMBERS_AT_ONCE)) {
      if (!isRemote(userId)) {
        if (isUserId(userId)) local.push(userId);
        continue;
      }
      wanted.add(userId);
      const member = placed.get(userId);
      const event = events.getByNid(nid);
      // Rows of an earlier attempt stand for no state: only what is written is compared.
      if (member?.eventId === event.eventId && member.membership === membershipOf(event)) continue;
      changes.push({ userId, event, isGone: false, strippedState: undefined });
    }
    await apply(changes);
  }

  const gone = [...placed.values()].filter(
    ({ userId, membership }) => membership !== 'leave' && isRemote(userId) && !wanted.has(userId),
  );
  for (let start = 0; start < gone.length; start += MEMBERS_AT_ONCE) {
    await pace.step();
    await apply(
      gone.slice(start, start + MEMBERS_AT_ONCE).flatMap(({ userId, eventId }) => {
        const event = events.find(eventId);
        return event === undefined ? [] : [{ userId, event, isGone: true, strippedState: undefined }];
      }),
    );
  }
  return local;
}

function finish(
  parts: RemoteParts,
  tx: WriteTx,
  server: ServerName,
  event: RoomEvent,
  placed: { readonly state: StateGroupId; readonly local: readonly UserId[] },
): PersistedEvent {
  const { heads, events, members, persister } = parts;
  const head = heads.find(event.roomId);
  if (head === undefined) throw new Error('a room vanished while it was joined');
  const known = events.find(event.eventId);
  if (known !== undefined && !known.outlier) return known;
  const isInside = members.listLocalJoined(event.roomId).length > 0;
  const { stateBefore, gathered } = judged(parts, tx, server, head, event, placed.state, isInside);
  return persister.persist(tx, isInside ? head : withoutExtremities(parts, tx, head), {
    event,
    verdict: 'accepted',
    stateBefore,
    prevEvents: gathered.prevEvents,
    missing: gathered.missingPrevEvents,
    live: true,
    ...(isInside ? {} : { placed }),
  });
}

/** What a server knew of a room when it left is no part of how the room stands now. */
function withoutExtremities({ heads }: RemoteParts, tx: WriteTx, head: RoomHead): RoomHead {
  if (head.extremities.length === 0) return head;
  const cleared = { ...head, extremities: [] };
  heads.update(tx, head, cleared, head.lastPosition as StreamPosition);
  return cleared;
}
