import { MatrixError } from '../../matrix/errors.ts';
import type { RoomId, UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { MembershipReader, StateReader } from '../../rooms/types.ts';
import type { Database } from '../../storage/types.ts';
import type { Logger } from '../../util/log.ts';
import { guestAccessPurge } from './purge.ts';
import { GuestAccessChanges } from './store.ts';

export { migrations } from './schema.ts';

export interface GuestAccessNeeds {
  readonly db: Database;
  readonly log: Logger;
  readonly state: Pick<StateReader, 'findCurrent'>;
  readonly members: Pick<MembershipReader, 'listLocalJoined'>;
  readonly users: { isGuest(userId: UserId): boolean };
  /** Makes a user leave in their own name. */
  readonly leave: (userId: UserId, roomId: RoomId) => Promise<void>;
}

/**
 * Sends guests of this server out of rooms that no longer let guests in (spec: "Guest Access", "Server behaviour").
 * Whether they may join is asked where users join.
 */
export function guestAccess({ db, log, state, members, users, leave }: GuestAccessNeeds): Module {
  const changes = new GuestAccessChanges(db);

  async function sendGuestsOut(roomId: RoomId, stopping: AbortSignal): Promise<void> {
    const rule = state.findCurrent(roomId, 'm.room.guest_access', '')?.content['guest_access'];
    if (rule === 'can_join') return;
    for (const userId of members.listLocalJoined(roomId)) {
      if (stopping.aborted) return;
      if (!users.isGuest(userId)) continue;
      try {
        // In their own name, as it takes no power in the room, and no other server has to know what a guest is.
        await leave(userId, roomId);
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        log.warn({ userId, roomId, error }, 'a guest could not leave a room closed to guests');
      }
    }
  }

  return {
    name: 'guest-access',
    purge: guestAccessPurge(db),
    projections: [
      {
        name: 'guest-access',
        project: (tx, { roomId, position }, { stateDeltas }) => {
          // Without a rule before this one no guest can have joined.
          const isChange = stateDeltas.some(
            ({ type, stateKey, before }) => type === 'm.room.guest_access' && stateKey === '' && before !== undefined,
          );
          if (isChange) changes.put(tx, roomId, position);
        },
      },
    ],
    followers: [
      {
        name: 'guest-access',
        follow: async (_since, now, stopping) => {
          const rooms = changes.list(now);
          for (const roomId of rooms) await sendGuestsOut(roomId, stopping);
          if (rooms.length === 0 || stopping.aborted) return undefined;
          return (tx) => {
            for (const roomId of rooms) changes.remove(tx, roomId, now);
          };
        },
      },
    ],
  };
}
