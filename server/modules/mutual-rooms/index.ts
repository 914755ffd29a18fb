import type { RateLimit } from '../../http/rate-limit.ts';
import type { Module } from '../../module.ts';
import type { MembershipReader } from '../../rooms/types.ts';
import { mutualRoomRoutes } from './routes.ts';

/** The rooms one shares with somebody (spec: "Mutual Rooms"). */
export function mutualRooms(needs: { rooms: Pick<MembershipReader, 'listMutualRooms'>; limit: RateLimit }): Module {
  return { name: 'mutual-rooms', routes: mutualRoomRoutes(needs) };
}
