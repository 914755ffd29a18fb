import { isUserId, serverNameOf } from '../../../matrix/identifiers.ts';
import type { Projection } from '../../../rooms/types.ts';
import type { UpgradeNeeds } from './needs.ts';
import { predecessorOf } from './replacement.ts';
import { userDataTransfer } from './user-data.ts';

/**
 * Whoever comes over from a replaced room finds their settings in the new one (spec: "Room Upgrades", server behaviour,
 * last paragraph). With the first of them comes what leads to the old room from this server, in case the room was
 * replaced from another.
 */
export function joinProjection(needs: UpgradeNeeds): Projection {
  const { serverName, events, state, members, directory } = needs;
  const transferUserData = userDataTransfer(needs);
  const membershipIn = (eventId: Parameters<typeof events.findEvent>[0] | undefined): unknown =>
    eventId === undefined ? undefined : events.findEvent(eventId)?.content['membership'];
  return {
    name: 'room-upgrades',
    project: (tx, { roomId }, { stateDeltas }) => {
      const joined = stateDeltas.flatMap(({ type, stateKey, before, after }) => {
        const isOurs = type === 'm.room.member' && isUserId(stateKey) && serverNameOf(stateKey) === serverName;
        return isOurs && membershipIn(after) === 'join' && membershipIn(before) !== 'join' ? [stateKey] : [];
      });
      if (joined.length === 0) return;
      const create = state.findCurrent(roomId, 'm.room.create', '');
      const old = create === undefined ? undefined : predecessorOf(create);
      // Anybody can claim to be a room's successor; only the old room says who is.
      if (old === undefined || state.findCurrent(old, 'm.room.tombstone', '')?.content['replacement_room'] !== roomId) {
        return;
      }
      if (members.listLocalJoined(roomId).length === joined.length) directory.move(tx, old, roomId);
      for (const userId of joined) {
        if (members.findMember(old, userId) !== undefined) transferUserData(tx, userId, old, roomId);
      }
    },
  };
}
