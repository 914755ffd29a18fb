import type { RateLimit } from '../../../http/rate-limit.ts';
import type { DeviceId, UserId } from '../../../matrix/identifiers.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import type { Random } from '../../../util/random.ts';
import type { Templates } from '../../../mail/index.ts';
import type { Proofs } from './proofs.ts';
import type { AccountsSettings } from './settings.ts';

/** What accounts need to know of devices. */
export interface Devices {
  exists(userId: UserId, deviceId: DeviceId): boolean;
  /** Makes the device unless it is there; the name is only for a new one. */
  ensure(tx: WriteTx, userId: UserId, deviceId: DeviceId, displayName: string | undefined): void;
  /** Removes devices and all that hangs on them, access tokens too. Unknown ones are passed over. */
  remove(tx: WriteTx, userId: UserId, deviceIds: readonly DeviceId[]): void;
  /** Removes every device of a user but `except`. */
  removeAll(tx: WriteTx, userId: UserId, except?: DeviceId): void;
  /** A request was made with the device's token. Costs no write of its own. */
  seen(userId: UserId, deviceId: DeviceId, ip: string, userAgent: string | undefined): void;
}

/** An application service, as far as accounts care (spec: application service API). */
export interface ApplicationService {
  readonly id: string;
  readonly senderUserId: UserId;
  /** Its sender is spared rate limits in any case. */
  readonly rateLimited: boolean;
  /** Whether it is remembered from where it uses the devices of its users. */
  readonly tracksAddresses: boolean;
  /** Whether the user is its sender or in one of its namespaces of users. */
  covers(userId: UserId): boolean;
}

export interface ApplicationServices {
  findByToken(token: string): ApplicationService | undefined;
  /** The service that alone may have users so called. */
  findExclusiveOwner(userId: UserId): ApplicationService | undefined;
  /** Whether there are any: only then `m.login.application_service` is offered. */
  any(): boolean;
}

/** A new account, as those hear of it who have something to prepare. */
interface Registered {
  readonly userId: UserId;
  readonly kind: 'user' | 'guest';
  /** Asked for by an administrator; undefined leaves the default. */
  readonly displayName: string | undefined;
  readonly appserviceId: string | undefined;
  readonly userType: string | undefined;
  readonly isAdmin: boolean;
}

export interface AccountHooks {
  /** In the transaction that makes the account. `tx.onCommit` is for what has to wait. A guest who becomes a user is told of again. */
  readonly onRegistered: readonly ((tx: WriteTx, registered: Registered) => void)[];
  /** In the transaction that deactivates it. `erase`: forget what can be forgotten. */
  readonly onDeactivated: readonly ((tx: WriteTx, userId: UserId, options: { readonly erase: boolean }) => void)[];
  /**
   * After that, what may take its time: leaving rooms. Called again after a restart if it had not finished, so it must
   * bear being repeated. It stops when `stopping` does.
   */
  readonly onDeparting: readonly ((
    userId: UserId,
    options: { readonly erase: boolean; readonly stopping: AbortSignal },
  ) => Promise<void>)[];
  /** In the transaction in which an administrator opens it again, or says of what kind its user is. */
  readonly onStandingChanged?: readonly ((tx: WriteTx, userId: UserId) => void)[];
}

/** The limits on what costs the server or helps a guesser. Keys are chosen here. */
export interface AccountLimits {
  readonly registration: RateLimit;
  readonly registrationTokenValidity: RateLimit;
  readonly loginAddress: RateLimit;
  readonly loginAccount: RateLimit;
  readonly loginFailedAttempts: RateLimit;
  /** Login tokens for further clients (spec: one a minute is suggested). */
  readonly loginToken: RateLimit;
  /** New passwords of people who are not logged in, each of which is hashed. */
  readonly passwordReset: RateLimit;
}

export interface AccountsNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly settings: AccountsSettings;
  readonly limits: AccountLimits;
  readonly devices: Devices;
  readonly hooks: AccountHooks;
  readonly appservices?: ApplicationServices;
  /** What else proves who somebody is, once all parts are there. */
  readonly proofs?: () => Proofs;
  /** For pages that administrators may have worded. */
  readonly templates?: Templates;
  /** Whether an account has run out: then it may only log out, or be renewed. */
  readonly isExpired?: (userId: UserId) => boolean;
  /** Whether a user has published a cross-signing key so called: a device may not share its name. */
  readonly isCrossSigningKey?: (userId: UserId, keyId: string) => boolean;
}
