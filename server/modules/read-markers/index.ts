import type { EventId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { WriteTx } from '../../storage/types.ts';
import { readMarkerPurge } from './purge.ts';
import { readMarkerRoutes, type SetReceipt } from './routes.ts';
import { readMarkerService, type ReadMarkerNeeds } from './service.ts';
import { ReadMarkerStore } from './store.ts';
import { readMarkerContribution } from './sync.ts';

export { migrations } from './schema.ts';

/** Where a user left off reading (spec: "Fully read markers"). */
export function readMarkers(needs: ReadMarkerNeeds & { readonly setReceipt: SetReceipt }): Module & {
  readonly setFullyRead: (roomId: RoomId, userId: UserId, eventId: EventId) => void;
  readonly removeOfUser: (tx: WriteTx, userId: UserId) => void;
} {
  const store = new ReadMarkerStore(needs.db);
  const markers = readMarkerService({ ...needs, store });
  return {
    name: 'read-markers',
    setFullyRead: (roomId, userId, eventId) => markers.set(roomId, userId, eventId),
    removeOfUser: (tx, userId) => store.removeUser(tx, userId),
    routes: readMarkerRoutes({ db: needs.db, markers, setReceipt: needs.setReceipt }),
    sync: [readMarkerContribution(store)],
    purge: readMarkerPurge(needs.db),
  };
}
