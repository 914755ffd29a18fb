import type { EduSender } from '../../federation/types.ts';
import type { RoomId, UserId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { Module } from '../../module.ts';
import type { StreamPosition, WriteTx } from '../../storage/types.ts';
import type { ServerAcls } from '../../rooms/federation-types.ts';
import { receiptEdu, receiptEduKey, toReceiptEdu } from './edus.ts';
import { receiptPurge } from './purge.ts';
import { receiptRoutes, type SetFullyRead } from './routes.ts';
import { receiptService, type ReceiptNeeds, type Receipts } from './service.ts';
import { type Receipt, ReceiptStore } from './store.ts';
import { eventsByRoom, receiptContribution } from './sync.ts';

export { migrations } from './schema.ts';
export type { Receipts, ReceiptSender } from './service.ts';

/** How far people have read (spec: "Receipts"). */
export function receipts(
  needs: ReceiptNeeds & {
    readonly setFullyRead: SetFullyRead;
    readonly acls: ServerAcls;
    /** Where public receipts of local users go. Absent on a server that does not federate. */
    readonly edus?: Pick<EduSender, 'send'> | undefined;
  },
): Module & {
  readonly receipts: Receipts;
  readonly removeOfUser: (tx: WriteTx, userId: UserId) => void;
  /** The m.receipt events of the receipts set in (since, now] that `isShown` lets pass, by room. */
  readonly listSince: (
    since: StreamPosition,
    now: StreamPosition,
    isShown: (receipt: Receipt) => boolean,
  ) => ReadonlyMap<RoomId, readonly JsonObject[]>;
} {
  const store = new ReceiptStore(needs.db);
  const { clock, acls, rooms, edus } = needs;
  const service = receiptService({
    ...needs,
    store,
    sender: {
      send: (receipt) => {
        needs.sender?.send(receipt);
        edus?.send(rooms.listServers(receipt.roomId), toReceiptEdu(receipt), receiptEduKey(receipt));
      },
    },
  });
  return {
    name: 'receipts',
    receipts: service,
    removeOfUser: (tx, userId) => store.removeUser(tx, userId),
    listSince: (since, now, isShown) => eventsByRoom(store.listSince(since, now).filter(isShown)),
    routes: receiptRoutes({ receipts: service, setFullyRead: needs.setFullyRead }),
    edus: { 'm.receipt': receiptEdu({ receipts: service, acls, now: () => clock.now() }) },
    projections: [{ name: 'receipts', project: (tx, event) => tx.onCommit(() => service.arrived(event)) }],
    sync: [receiptContribution(store)],
    purge: receiptPurge(needs.db),
  };
}
