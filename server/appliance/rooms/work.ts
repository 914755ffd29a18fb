import { MatrixError } from '../../matrix/errors.ts';
import type { RoomId } from '../../matrix/identifiers.ts';
import type { Announcer } from '../announcer.ts';
import type { JobOrder, Jobs } from '../jobs/jobs.ts';
import type { RoomRemoval, RoomsPort } from './port.ts';

interface RoomWork {
  readonly port: () => RoomsPort;
  readonly announcer: Pick<Announcer, 'moved'>;
}

/** What a purge does, and how much of the whole it takes, about: most of it is removing events. */
const STEPS: Readonly<
  Record<RoomRemoval['step'], { readonly text: string; readonly from: number; readonly to: number }>
> = {
  leaving: { text: 'Everybody leaves', from: 0, to: 0.05 },
  telling: { text: 'Other servers are told', from: 0.05, to: 0.1 },
  removing: { text: 'Messages are removed', from: 0.1, to: 0.9 },
  tidying: { text: 'What hung on them is removed', from: 0.9, to: 0.95 },
  shrinking: { text: 'The disk space is given back', from: 0.95, to: 1 },
  done: { text: 'Done', from: 1, to: 1 },
};

const HELD_UP = 'Something is in the way, such as a full disk; it is tried again in a moment';

/** Lets everybody of this server leave a room. The job's result says how many did. Throws M_NOT_FOUND. */
export function leaveRoom({ port, announcer }: RoomWork, roomId: RoomId): JobOrder {
  return {
    kind: 'leave',
    title: `Leaving ${port().nameOf(roomId)}`,
    canCancel: true,
    excludes: `room ${roomId}`,
    run: async (report) => {
      const rooms = port();
      const users = rooms.listPresent(roomId);
      const failures: string[] = [];
      for (const [index, userId] of users.entries()) {
        report.signal.throwIfAborted();
        report.progress(index / users.length, `${userId} leaves`);
        try {
          await rooms.leave(userId, roomId);
        } catch (error) {
          if (!(error instanceof MatrixError)) throw error;
          failures.push(`${userId}: ${error.message}`);
        }
      }
      announcer.moved('rooms');
      if (failures.length > 0) {
        throw new MatrixError('M_FORBIDDEN', `Not everybody could leave. ${failures.join('; ')}`);
      }
      return { left: users.length };
    },
  };
}

/** Removes a room for good. The job's result is how many events went and the bytes that are free for it. Throws M_NOT_FOUND. */
export function purgeRoom(work: RoomWork, roomId: RoomId): JobOrder {
  return purgeOrder(work, roomId, `Removing ${work.port().nameOf(roomId)}`);
}

/**
 * Shows what goes on by itself as jobs: removals that the homeserver takes up again when it starts. Looks for them whenever
 * it has started.
 */
export function showResumedPurges({
  port,
  find,
  jobs,
  announcer,
}: {
  /** The homeserver's part while it runs. */
  readonly find: () => RoomsPort | undefined;
  readonly jobs: Pick<Jobs, 'start'>;
  readonly announcer: Pick<Announcer, 'moved' | 'subscribe'>;
} & Pick<RoomWork, 'port'>): { unsubscribe(): void } {
  let seen: RoomsPort | undefined;
  return announcer.subscribe((event) => {
    if (!('topic' in event) || event.topic !== 'status') return;
    const rooms = find();
    if (rooms === undefined || rooms === seen) return;
    seen = rooms;
    for (const roomId of rooms.listPurging()) {
      try {
        jobs.start(purgeOrder({ port, announcer }, roomId, `Removing a room, from where it was (${roomId})`));
      } catch (error) {
        // It is shown already, or the program closes.
        if (!(error instanceof MatrixError)) throw error;
      }
    }
  });
}

function purgeOrder({ port, announcer }: RoomWork, roomId: RoomId, title: string): JobOrder {
  return {
    kind: 'purge',
    title,
    // Half a room is of no use to anybody.
    canCancel: false,
    excludes: `room ${roomId}`,
    run: async (report) => {
      const { signal } = report;
      const over = port().purge(roomId, ({ step, removed, events }, isHeldUp) => {
        const { text, from, to } = STEPS[step];
        const share = step === 'removing' && events > 0 ? Math.min(1, removed / events) : 0;
        report.progress(from + share * (to - from), isHeldUp ? HELD_UP : text);
      });
      // The program closes: the removal itself goes on the next time it runs.
      const closing = Promise.withResolvers<never>();
      const close = (): void => closing.reject(signal.reason);
      signal.addEventListener('abort', close, { once: true });
      try {
        const { removed, freedBytes = 0 } = await Promise.race([over, closing.promise]);
        return { events: removed, freedBytes };
      } finally {
        signal.removeEventListener('abort', close);
        over.catch(() => undefined);
        announcer.moved('rooms');
        announcer.moved('status');
      }
    },
  };
}
