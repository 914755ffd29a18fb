import { splitStateKey } from '../../../matrix/events/event.ts';
import {
  type EventId,
  isUserId,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type {
  EventReader,
  MembershipReader,
  PersistedEvent,
  Projection,
  RoomState,
  StateReader,
  Timeline,
} from '../../../rooms/types.ts';
import {
  type Database,
  type Follower,
  STREAM_START,
  type StreamPosition,
  type WriteTx,
} from '../../../storage/types.ts';
import { turns } from '../../../util/turns.ts';
import type { DirectoryStore, Face } from '../store.ts';
import type { Progress } from '../../../storage/progress.ts';

/** A user of this server. */
interface LocalUser {
  readonly userId: UserId;
  readonly deactivated: boolean;
  readonly locked: boolean;
  /** The word of an administrator for what is no person. */
  readonly userType: string | undefined;
  /** The application service that made it. */
  readonly appserviceId: string | undefined;
}

export interface LocalUsers {
  list(): readonly LocalUser[];
  find(userId: UserId): LocalUser | undefined;
}

export interface LocalProfiles {
  find(userId: UserId): { readonly displayName?: string; readonly avatarUrl?: string } | undefined;
}

export interface IndexingNeeds {
  readonly db: Database;
  readonly serverName: ServerName;
  readonly store: DirectoryStore;
  readonly progress: Progress;
  readonly events: Pick<EventReader, 'findEvent'>;
  readonly state: Pick<StateReader, 'stateAt' | 'difference' | 'findCurrent'>;
  readonly members: Pick<MembershipReader, 'listLocalJoined'>;
  readonly timeline: Pick<Timeline, 'listActiveRooms'>;
  readonly users: LocalUsers;
  readonly profiles: LocalProfiles;
}

/** One small change of the directory. */
type Step = (tx: WriteTx) => void;

/** How many steps are written at once, some milliseconds of work; others get their turn in between. */
const STEPS_AT_ONCE = 50;

/** Longest name or address of a picture, in UTF-16 units, that is kept of a user of another server. */
const KEPT_LENGTH = 1_000;

const NO_FACE: Face = { displayName: '', avatarUrl: '' };

/** Those who left for good cannot be found, nor can users who are no persons to write to. */
function isListed({ deactivated, userType, appserviceId }: LocalUser): boolean {
  return !deactivated && userType !== 'support' && appserviceId === undefined;
}

/** Brings what is known of one user of this server up to date: their profile, and whether they can be found. */
export function refreshLocal(
  { store, users, profiles }: Pick<IndexingNeeds, 'store' | 'users' | 'profiles'>,
  tx: WriteTx,
  userId: UserId,
): number {
  const user = users.find(userId);
  const listed = user !== undefined && isListed(user);
  const { displayName, avatarUrl } = (listed ? profiles.find(userId) : undefined) ?? {};
  return store.putLocalFace(tx, userId, faceOf(displayName, avatarUrl), listed);
}

/**
 * Keeps the directory in step with the rooms. Each room carries the position its members are known as of, so what was
 * half done before a crash is done again, and a room of thousands is taken in by and by.
 */
export function directoryFollower(needs: IndexingNeeds): Follower {
  const { db, serverName, store, progress, events, state, members, timeline, users } = needs;

  function memberStep(roomNid: number, userId: UserId, eventId: EventId | undefined): Step {
    return (tx) => {
      const content = eventId === undefined ? undefined : events.findEvent(eventId)?.content;
      store.setMember(
        tx,
        roomNid,
        userId,
        content?.['membership'] === 'join' ? faceIn(tx, userId, content) : undefined,
      );
    };
  }

  function faceIn(tx: WriteTx, userId: UserId, content: JsonObject): number {
    if (serverNameOf(userId) !== serverName) return store.ensureRemoteFace(tx, userId, shownIn(content));
    // A name chosen for one room is nothing for the directory: users of this server go by their profile.
    return store.findLocalFace(userId) ?? refreshLocal(needs, tx, userId);
  }

  function isOpen(at: RoomState): boolean {
    const read = (type: string, key: string): unknown => {
      const eventId = at.find(type, '');
      return eventId === undefined ? undefined : events.findEvent(eventId)?.content[key];
    };
    return (
      read('m.room.join_rules', 'join_rule') === 'public' ||
      read('m.room.history_visibility', 'history_visibility') === 'world_readable'
    );
  }

  /** A room whose members are not known, or not for sure. */
  function* takeIn(roomId: RoomId, nid: number, now: StreamPosition): Generator<Step> {
    for (const faceNid of store.listFaces(nid)) yield (tx) => store.removeMember(tx, nid, faceNid);
    const after = state.stateAt(roomId, now);
    for (const [userId, eventId] of after.listType('m.room.member')) {
      if (isUserId(userId)) yield memberStep(nid, userId, eventId);
    }
    yield (tx) => {
      store.setOpen(tx, nid, isOpen(after));
      store.setPosition(tx, nid, now);
    };
  }

  function* update(roomId: RoomId, nid: number, since: StreamPosition, now: StreamPosition): Generator<Step> {
    const after = state.stateAt(roomId, now);
    const changed = state
      .difference(state.stateAt(roomId, since), after)
      .map(([key, , eventId]) => ({ ...splitStateKey(key), eventId }))
      .filter(({ type }) => RELEVANT.has(type));
    if (changed.length === 0) return;
    yield (tx) => store.setPosition(tx, nid, undefined);
    for (const { type, stateKey, eventId } of changed) {
      if (type === 'm.room.member' && isUserId(stateKey)) yield memberStep(nid, stateKey, eventId);
    }
    yield (tx) => {
      store.setOpen(tx, nid, isOpen(after));
      store.setPosition(tx, nid, now);
    };
  }

  /** Nobody here is in the room any more: what this server knows of it is no longer kept up. */
  function* leave(nid: number): Generator<Step> {
    yield (tx) => {
      store.setOpen(tx, nid, false);
      store.setPosition(tx, nid, undefined);
    };
    for (const faceNid of store.listFaces(nid)) yield (tx) => store.removeMember(tx, nid, faceNid);
    yield (tx) => store.removeRoom(tx, nid);
  }

  function* steps(since: StreamPosition, now: StreamPosition): Generator<Step> {
    const isRebuild = store.isRebuildDue(now);
    if (isRebuild) {
      yield (tx) => store.clear(tx);
      for (const { userId } of users.list()) yield (tx) => refreshLocal(needs, tx, userId);
    }
    for (const roomId of timeline.listActiveRooms(isRebuild ? STREAM_START : since, now)) {
      const known = store.findRoom(roomId);
      if (members.listLocalJoined(roomId).length === 0) {
        if (known !== undefined) yield* leave(known.nid);
      } else if (known?.position !== undefined) {
        yield* update(roomId, known.nid, known.position, now);
      } else {
        if (known === undefined) yield (tx) => store.insertRoom(tx, roomId);
        const nid = store.findRoom(roomId)?.nid;
        if (nid !== undefined) yield* takeIn(roomId, nid, now);
      }
    }
    if (isRebuild) yield (tx) => store.finishRebuild(tx, now);
  }

  return {
    name: 'user-directory',
    follow: async (since, now, stopping) => {
      const work = steps(since, now);
      let step = work.next();
      while (step.done !== true) {
        await turns.wait();
        if (stopping.aborted) return undefined;
        const first = step.value;
        step = db.write((tx) => takeSteps(tx, first, work));
        // A search may use what is written before it is on disk: its reply waits for that.
        if (step.done === true) progress.reach(now);
        await db.committed();
      }
      progress.reach(now);
      return undefined;
    },
  };
}

/** Takes some steps and gives the next. Each is asked for only after the one before was taken: they read what that left. */
function takeSteps(tx: WriteTx, first: Step, work: Generator<Step>): IteratorResult<Step, unknown> {
  first(tx);
  let next = work.next();
  for (let n = 1; n < STEPS_AT_ONCE && next.done !== true; n++) {
    next.value(tx);
    next = work.next();
  }
  return next;
}

/** What decides who is shown to whom. */
const RELEVANT: ReadonlySet<string> = new Set(['m.room.member', 'm.room.join_rules', 'm.room.history_visibility']);

/** When the event by which a user of another server is in a room is redacted, what it showed of them goes with it. */
export function redactionProjection({ serverName, store, state }: IndexingNeeds): Projection {
  return {
    name: 'user-directory',
    project: (tx, event, { redacted }) => {
      const userId = redacted === undefined ? undefined : remoteMember(redacted, serverName);
      if (redacted === undefined || userId === undefined) return;
      const room = store.findRoom(event.roomId);
      if (room === undefined || !store.isMember(room.nid, userId)) return;
      const current = state.findCurrent(event.roomId, 'm.room.member', userId);
      if (current?.eventId !== redacted.eventId) return;
      store.setMember(tx, room.nid, userId, store.ensureRemoteFace(tx, userId, NO_FACE));
    },
  };
}

function remoteMember({ type, stateKey }: PersistedEvent, serverName: ServerName): UserId | undefined {
  if (type !== 'm.room.member' || stateKey === undefined || !isUserId(stateKey)) return undefined;
  return serverNameOf(stateKey) === serverName ? undefined : stateKey;
}

function shownIn({ displayname, avatar_url: avatarUrl }: JsonObject): Face {
  const text = (value: unknown): string =>
    typeof value === 'string' ? value.slice(0, KEPT_LENGTH).toWellFormed() : '';
  return faceOf(text(displayname), text(avatarUrl));
}

/** Spec: a result's picture is an MXC URI; what is none cannot be shown. */
function faceOf(displayName = '', avatarUrl = ''): Face {
  return { displayName, avatarUrl: avatarUrl.startsWith('mxc://') ? avatarUrl : '' };
}
