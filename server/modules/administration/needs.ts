import type { DeviceId, ServerName, UserId } from '../../matrix/identifiers.ts';

/** An account, as far as administrators act on it here. */
export interface AdministeredAccount {
  readonly isAdmin: boolean;
  readonly locked: boolean;
  readonly suspended: boolean;
  readonly deactivated: boolean;
}

export interface AdministrationNeeds {
  readonly serverName: ServerName;
  readonly accounts: {
    find(userId: UserId): AdministeredAccount | undefined;
    setLocked(userId: UserId, locked: boolean): void;
    setSuspended(userId: UserId, suspended: boolean): void;
  };
  readonly devices: {
    list(userId: UserId): readonly { readonly deviceId: DeviceId }[];
    /** Where they were seen, newest first. `lastSeenMs`: since the epoch. */
    listConnections(userId: UserId): readonly {
      readonly deviceId: DeviceId;
      readonly ip: string;
      readonly userAgent: string;
      readonly lastSeenMs: number;
    }[];
  };
}
