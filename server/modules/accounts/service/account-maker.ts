import { buildUserId, type DeviceId, type ServerName, type UserId } from '../../../matrix/identifiers.ts';
import type { WriteTx } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import { randomString, type Random } from '../../../util/random.ts';
import type { UserStore } from '../store/users.ts';
import type { AccountHooks, Devices } from './needs.ts';
import type { TokenMemory } from './authenticator.ts';
import type { Usernames } from './usernames.ts';

/** An account to be made. */
interface AccountOrder {
  readonly userId: UserId;
  readonly kind: 'user' | 'guest';
  readonly passwordHash?: string | undefined;
  readonly displayName?: string | undefined;
  readonly userType?: string | undefined;
  readonly appserviceId?: string | undefined;
  readonly isAdmin?: boolean | undefined;
}

/** Makes accounts, whoever ordered them. */
export interface AccountMaker {
  /** Throws M_USER_IN_USE. */
  create(tx: WriteTx, order: AccountOrder): void;
  /** Makes a guest a user: guest sessions end, and devices go but the one they go on with. */
  promoteGuest(tx: WriteTx, userId: UserId, passwordHash: string, deviceId: DeviceId | undefined): void;
  /** A user ID nobody has: a number for guests, letters for others. */
  pickUserId(kind: 'user' | 'guest'): UserId;
}

export function createAccountMaker(needs: {
  readonly clock: Pick<Clock, 'now'>;
  readonly random: Random;
  readonly serverName: ServerName;
  readonly users: UserStore;
  readonly memory: TokenMemory;
  readonly usernames: Usernames;
  readonly devices: Devices;
  readonly hooks: AccountHooks;
}): AccountMaker {
  const { clock, random, serverName, users, memory, usernames, devices, hooks } = needs;
  return {
    create: (tx, order) => {
      usernames.checkFree(order.userId);
      const { userId, kind, displayName, userType, appserviceId } = order;
      const isAdmin = order.isAdmin ?? false;
      users.insert(tx, {
        userId,
        kind,
        createdMs: clock.now(),
        passwordHash: order.passwordHash,
        userType,
        appserviceId,
        isAdmin,
      });
      for (const hook of hooks.onRegistered) {
        hook(tx, { userId, kind, displayName, appserviceId, userType, isAdmin });
      }
    },
    promoteGuest: (tx, userId, passwordHash, deviceId) => {
      users.promoteGuest(tx, userId, passwordHash);
      devices.removeAll(tx, userId, deviceId);
      memory.forget(tx, userId);
      const told = { userId, kind: 'user', displayName: undefined, appserviceId: undefined } as const;
      for (const hook of hooks.onRegistered) hook(tx, { ...told, userType: undefined, isAdmin: false });
    },
    pickUserId: (kind) => {
      for (;;) {
        const localpart =
          kind === 'guest'
            ? randomString(random, 12, '123456789')
            : randomString(random, 12, 'abcdefghijkmnpqrstuvwxyz');
        const userId = buildUserId(localpart, serverName);
        if (userId === undefined) throw new RangeError('the server name leaves no room for user IDs');
        if (users.find(userId) === undefined) return userId;
      }
    },
  };
}
