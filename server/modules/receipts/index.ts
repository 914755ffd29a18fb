import type { UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { WriteTx } from '../../storage/types.ts';
import { receiptRoutes, type SetFullyRead } from './routes.ts';
import { receiptService, type ReceiptNeeds, type Receipts } from './service.ts';
import { ReceiptStore } from './store.ts';
import { receiptContribution } from './sync.ts';

export { migrations } from './schema.ts';
export type { Receipts, ReceiptSender } from './service.ts';

/** How far people have read (spec: "Receipts"). */
export function receipts(needs: ReceiptNeeds & { readonly setFullyRead: SetFullyRead }): Module & {
  readonly receipts: Receipts;
  readonly removeOfUser: (tx: WriteTx, userId: UserId) => void;
} {
  const store = new ReceiptStore(needs.db);
  const service = receiptService({ ...needs, store });
  return {
    name: 'receipts',
    receipts: service,
    removeOfUser: (tx, userId) => store.removeUser(tx, userId),
    routes: receiptRoutes({ receipts: service, setFullyRead: needs.setFullyRead }),
    sync: [receiptContribution(store)],
  };
}
