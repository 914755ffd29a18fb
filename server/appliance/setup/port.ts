import type { UserId } from '../../matrix/identifiers.ts';
import type { Reach } from '../contract.ts';

/** Accounts, as far as setting up goes and signing in to the interface. */
export interface AccountsPort {
  /** Whether somebody has an account: from then on the server name is final. */
  hasPeople(): boolean;
  /** Whether there is somebody who runs the server: from then on it is set up. */
  hasAdministrator(): boolean;
  /** Whoever has an account, while that is one person alone. */
  onlyPerson(): UserId | undefined;
  /** Throws M_INVALID_USERNAME, M_USER_IN_USE, M_WEAK_PASSWORD, M_EXCLUSIVE. */
  checkNewAccount(account: { readonly username: string; readonly password?: string | undefined }): void;
  /** An account that runs the server. Throws as `checkNewAccount`. */
  createAdministrator(account: {
    readonly username: string;
    readonly password: string;
    readonly displayName?: string | undefined;
  }): Promise<UserId>;
  /** Whoever runs the server and has this name and password. Throws M_LIMIT_EXCEEDED after too many wrong ones. */
  signIn(username: string, password: string): Promise<UserId | undefined>;
  /** Another one as soon as they have another password; undefined once they do not run the server any more. */
  standingOf(userId: UserId): string | undefined;
}

/** What somebody decided of a server that nobody has an account on. */
export interface SetupPlan {
  readonly reach: Reach;
  readonly serverName: string;
  readonly publicUrl?: string | undefined;
  readonly certificatePath?: string | undefined;
  readonly privateKeyPath?: string | undefined;
}

/** From where a server is reached by its configuration. */
export interface PresentReach {
  readonly serverName: string;
  /** Which of the answers lead to a configuration like this, the likeliest first. */
  readonly reaches: readonly [Reach, ...Reach[]];
  /** Where it is another than the answers give by themselves. */
  readonly publicUrl: string | undefined;
  readonly certificatePath: string | undefined;
  readonly privateKeyPath: string | undefined;
}

/** The files in the data directory that make the server what it is. */
export interface SetupFiles {
  /** What is configured; undefined where the configuration cannot be read. */
  present(): PresentReach | undefined;
  /**
   * What has to be done for a plan, with nothing done yet. Throws a MatrixError, with the `field` that is at fault, where the
   * configuration it leads to could not be used.
   */
  prepare(plan: SetupPlan): PreparedSetup;
  /** Changes where the server is reached, and keeps its name and all else. Says whether that is a change. Throws as `prepare`. */
  changeReach(plan: Omit<SetupPlan, 'serverName'>): boolean;
}

export interface PreparedSetup {
  /** Whether anything has to be done at all. */
  readonly isChange: boolean;
  /** Only while the homeserver does not run. However it is broken off, the next start finds a whole configuration and data of its name. */
  apply(): void;
  /** Back to what was before `apply`, under the same conditions. */
  undo(): void;
}
