import type { Module } from '../../module.ts';
import { upgradeRoutes } from './routes.ts';
import type { UpgradeNeeds } from './service/needs.ts';
import { joinProjection } from './service/newcomers.ts';
import { createUpgrades, type RoomUpgrades } from './service/upgrade.ts';

export type { UpgradeNeeds, UserDataTransfer } from './service/needs.ts';
export type { RoomUpgrades, UpgradeOrder } from './service/upgrade.ts';

/** Replacing rooms by ones of another version (spec: "Room Upgrades"). */
export function roomUpgrades(needs: UpgradeNeeds): Module & { readonly upgrades: RoomUpgrades } {
  const upgrades = createUpgrades(needs);
  return { name: 'room-upgrades', upgrades, routes: upgradeRoutes(upgrades), projections: [joinProjection(needs)] };
}
