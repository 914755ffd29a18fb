import type { Module } from '../../module.ts';
import { creationRoutes } from './routes.ts';
import { createRoomCreation, type RoomCreation } from './service/create-room.ts';
import type { CreationNeeds } from './service/needs.ts';

export type { RoomCreation } from './service/create-room.ts';
export type { AddressInvite, CreationNeeds, CreationSettings, Directory, Invites } from './service/needs.ts';
export type { RoomOrder } from './service/order.ts';

/** Making rooms (spec: client-server API, "Creation"). */
export function roomCreation(needs: CreationNeeds): Module & { readonly creation: RoomCreation } {
  const creation = createRoomCreation(needs);
  return { name: 'room-creation', creation, routes: creationRoutes(creation) };
}
