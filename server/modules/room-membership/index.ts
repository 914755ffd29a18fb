import type { Module } from '../../module.ts';
import { isUserId, type ServerName, serverNameOf } from '../../matrix/identifiers.ts';
import type { MembershipWriter, Projection } from '../../rooms/types.ts';
import type { MembershipFederationNeeds } from './federation/needs.ts';
import { membershipFederationRoutes } from './federation/routes.ts';
import { membershipRoutes } from './routes.ts';
import { createMembership, type Membership } from './service/membership.ts';
import type { MembershipNeeds } from './service/needs.ts';

export type { MembershipFederationNeeds } from './federation/needs.ts';
export { migrations } from './schema.ts';
export type { Membership } from './service/membership.ts';
export type {
  Aliases,
  AliasTarget,
  MembershipLimits,
  MembershipNeeds,
  MembershipSettings,
  RemoteRooms,
  RoomOrder,
  ThirdPartyInvites,
} from './service/needs.ts';

/**
 * Who is in which room, and how that changes (spec: "Room membership"). Without `federation`, other servers can do nothing
 * to memberships here.
 */
export function roomMembership(
  needs: MembershipNeeds,
  federation?: MembershipFederationNeeds,
): Module & { readonly membership: Membership } {
  const parts = createMembership(needs);
  const { membership } = parts;
  return {
    name: 'room-membership',
    membership,
    routes: [
      ...membershipRoutes(parts, needs.members),
      ...(federation === undefined ? [] : membershipFederationRoutes({ needs, federation, membership })),
    ],
    projections: needs.settings.forgetOnLeave ? [forgetOnLeave(needs.members, needs.settings.serverName)] : [],
    start: () => parts.autoJoin.resume(),
    stop: () => parts.autoJoin.stop(),
  };
}

/** Local users forget a room as they leave it, or are made to. The capabilities tell clients so. */
function forgetOnLeave(members: MembershipWriter, serverName: ServerName): Projection {
  return {
    name: 'forget-rooms-on-leave',
    project: (tx, { roomId }, { stateDeltas }) => {
      for (const { type, stateKey } of stateDeltas) {
        const isOurs = type === 'm.room.member' && isUserId(stateKey) && serverNameOf(stateKey) === serverName;
        // Who is in the room is passed over by `forget` itself.
        if (isOurs) members.forget(tx, roomId, stateKey);
      }
    },
  };
}
