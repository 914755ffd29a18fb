import type { UserId } from '../../matrix/identifiers.ts';

/** Accounts, as far as setting up goes and signing in to the interface. */
export interface AccountsPort {
  /** Whether somebody has an account: from then on the server name is final. */
  hasPeople(): boolean;
  /** Throws M_INVALID_USERNAME, M_USER_IN_USE, M_WEAK_PASSWORD, M_EXCLUSIVE. */
  checkNewAccount(account: { readonly username: string; readonly password?: string | undefined }): void;
  /** An account that runs the server. Throws as `checkNewAccount`. */
  createAdministrator(account: {
    readonly username: string;
    readonly password: string;
    readonly displayName?: string | undefined;
  }): Promise<UserId>;
  /** Whether these belong to somebody who runs the server. Throws M_LIMIT_EXCEEDED after too many wrong ones. */
  isAdministrator(username: string, password: string): Promise<boolean>;
}
