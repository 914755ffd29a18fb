import type { DeviceId, UserId } from '../../matrix/identifiers.ts';
import type { PeoplePage, PersonDetails, PersonKind } from '../contract.ts';

/** The accounts of this server. Unknown users, and those of other servers, are M_NOT_FOUND. Changes are on disk when they resolve. */
export interface PeoplePort {
  /** `search`: part of the user ID or the name, in any case. In the order of their user IDs. */
  list(filter: {
    readonly kind: PersonKind;
    readonly search?: string | undefined;
    readonly deactivated?: boolean | undefined;
    readonly from: number;
    readonly limit: number;
  }): Promise<PeoplePage>;
  get(userId: UserId): PersonDetails;
  /** Throws M_WEAK_PASSWORD; M_FORBIDDEN for an account that is closed, or has its passwords elsewhere. */
  setPassword(userId: UserId, password: string, signOut: boolean): Promise<void>;
  /** Throws M_FORBIDDEN for the last administrator. */
  deactivate(userId: UserId, erase: boolean): Promise<void>;
  /** Throws M_FORBIDDEN where nobody would be left who can do it, and for accounts that are no people's. */
  setAdmin(userId: UserId, admin: boolean): Promise<void>;
  /** Throws M_FORBIDDEN for the last administrator. */
  setLocked(userId: UserId, locked: boolean): Promise<void>;
  /** Throws M_NOT_FOUND for an unknown device. */
  removeDevice(userId: UserId, deviceId: DeviceId): Promise<void>;
}
