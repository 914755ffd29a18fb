import { formatTimelineToken, parseTimelineToken } from '../../../rooms/timeline-token.ts';
import type { EventReader, PersistedEvent, Projection, Timeline } from '../../../rooms/types.ts';
import type { Progress } from '../../../storage/progress.ts';
import { type Database, type Follower, STREAM_START, type StreamPosition } from '../../../storage/types.ts';
import { turns } from '../../../util/turns.ts';
import type { SearchStore } from '../store.ts';
import { documentOf, editedBy, type NewDocument, textOf } from './documents.ts';
import type { Gathering } from './gathering.ts';

/** The edit of an event that holds, as far as this server knows. */
export interface Edits {
  findEdit(original: PersistedEvent): PersistedEvent | undefined;
}

export interface IndexingNeeds {
  readonly db: Database;
  readonly store: SearchStore;
  readonly progress: Progress;
  readonly gathering: Gathering;
  readonly events: Pick<EventReader, 'findEvent' | 'listEvents'>;
  readonly timeline: Pick<Timeline, 'listActiveRooms' | 'since' | 'page'>;
  readonly edits: Edits;
}

/** Events looked at in one go, some milliseconds of work; others get their turn in between. */
const SLICE = 50;

/** What is no news has to be told to the index, and what is redacted must be gone from it at once. */
export function searchProjection({ store }: Pick<IndexingNeeds, 'store'>): Projection {
  return {
    name: 'search',
    project: (tx, event, { redacted, live }) => {
      if (event.verdict !== 'accepted') return;
      if (!live && textOf(event) !== undefined) store.enqueue(tx, event.eventId);
      if (redacted === undefined) return;
      const edited = editedBy(redacted);
      if (edited === undefined) {
        store.remove(tx, redacted.eventId);
      } else {
        // What it says without this edit has to be found out.
        store.remove(tx, edited);
        store.enqueue(tx, edited);
      }
    },
  };
}

/**
 * Keeps the index in step with the rooms: first what is new, then, as long as nothing new comes, what the rooms held
 * before there was an index, newest first. What is done twice after a
 * crash changes nothing.
 */
export function searchFollower(needs: IndexingNeeds): Follower {
  const { db, store, progress, gathering, events, timeline, edits } = needs;

  /** What of some events goes into the index: those with text, and those that are edited by one of them. */
  function documentsOf(slice: readonly PersistedEvent[], { again }: { again: boolean }): NewDocument[] {
    const wanted = new Map<string, PersistedEvent>();
    for (const event of slice) {
      if (textOf(event) === undefined) continue;
      const edited = editedBy(event);
      const original = edited === undefined ? event : events.findEvent(edited);
      if (original === undefined || original.roomId !== event.roomId) continue;
      // What is there already has its edits.
      if (again || edited !== undefined || !store.has(event.eventId)) wanted.set(original.eventId, original);
    }
    return [...wanted.values()].flatMap((event) => documentOf(event, edits.findEdit(event)) ?? []);
  }

  /** Each step writes one slice; the caller sees to it that others get their turn. */
  function* news(since: StreamPosition, now: StreamPosition): Generator<void> {
    for (let pending = store.listPending(SLICE); pending.length > 0; pending = store.listPending(SLICE)) {
      const documents = documentsOf(events.listEvents(pending), { again: true });
      db.write((tx) => {
        store.put(tx, documents);
        for (const eventId of pending) store.dequeue(tx, eventId);
      });
      yield;
    }
    const isRebuild = store.isRebuildDue();
    for (const roomId of timeline.listActiveRooms(isRebuild ? STREAM_START : since, now)) {
      const known = store.findRoom(roomId)?.position;
      // In a room that is new only what is older than the news is left to the walk. Told to stop in between, this comes back to
      // the same news.
      const from = known === undefined ? (isRebuild ? now : since) : (Math.max(known, since) as StreamPosition);
      if (known === undefined) db.write((tx) => store.insertRoom(tx, roomId, from));
      for (let until = now; from < until; ) {
        const { events: slice, limited } = timeline.since({ roomId, since: from, now: until, limit: SLICE });
        const documents = documentsOf(slice, { again: false });
        if (documents.length > 0) db.write((tx) => store.put(tx, documents));
        yield;
        const [first] = slice;
        if (!limited || first === undefined) break;
        until = (first.position - 1) as StreamPosition;
      }
    }
    if (isRebuild) db.write((tx) => store.finishRebuild(tx));
  }

  function* walks(): Generator<void> {
    for (let walk = store.findWalk(); walk !== undefined; walk = store.findWalk()) {
      const { roomId, token } = walk;
      const page = timeline.page({ roomId, from: parseTimelineToken(token), direction: 'b', limit: SLICE });
      const documents = documentsOf(page.events, { again: false });
      db.write((tx) => {
        store.put(tx, documents);
        store.setWalk(tx, roomId, page.end === undefined ? undefined : formatTimelineToken(page.end));
      });
      yield;
    }
  }

  return {
    name: 'search',
    follow: async (since, now, stopping) => {
      await gathering.wait(stopping);
      for (const _ of news(since, now)) {
        await db.committed();
        await turns.wait();
        if (stopping.aborted) return undefined;
      }
      progress.reach(now);
      for (const _ of walks()) {
        await db.committed();
        await turns.wait();
        // News goes first: this is called for it at once, and comes back here.
        if (stopping.aborted || db.position() > now) return undefined;
      }
      await db.committed();
      return undefined;
    },
  };
}
