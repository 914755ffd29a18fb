import type { RateLimit } from '../../../http/rate-limit.ts';
import { MatrixError, badJson, forbidden, missingToken, unknownError, unknownToken } from '../../../matrix/errors.ts';
import type { DeviceId, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { Database } from '../../../storage/types.ts';
import type { Account, UserStore } from '../store/users.ts';
import { attemptKey, type Credentials } from './credentials.ts';
import type { ApplicationServices } from './needs.ts';
import type { AccountsSettings } from './settings.ts';
import type { IssuedTokens, Tokens } from './tokens.ts';

/** The body of `POST /login`, as far as every login type has it. */
export interface LoginBody {
  readonly type: string;
  readonly token?: string;
  readonly device_id?: DeviceId;
  readonly initial_device_display_name?: string;
  readonly refresh_token?: boolean;
}

/** The ways in (spec: "Login"). */
export interface Login {
  /** The login types on offer; empty if nobody can log in this way at all. */
  flows(): readonly JsonObject[];
  /**
   * Logs in. `token` is what the request shows as access token, for application services. Throws M_FORBIDDEN,
   * M_USER_DEACTIVATED, M_USER_LOCKED, M_LIMIT_EXCEEDED, M_UNKNOWN for a type that is not on offer.
   */
  logIn(
    body: LoginBody & JsonObject,
    from: { readonly ip: string; readonly token: string | undefined },
  ): Promise<{ readonly userId: UserId; readonly session: IssuedTokens }>;
}

export interface LoginNeeds {
  readonly db: Database;
  readonly settings: AccountsSettings;
  readonly users: UserStore;
  readonly credentials: Credentials;
  readonly tokens: Tokens;
  readonly addressLimit: RateLimit;
  readonly accountLimit: RateLimit;
  readonly appservices: ApplicationServices | undefined;
}

export function createLogin(needs: LoginNeeds): Login {
  const { db, settings, users, credentials, tokens, addressLimit, accountLimit, appservices } = needs;
  const passwordsWork = settings.passwords.enabled !== 'no' && settings.passwords.localDatabase;
  const tokensWork = settings.sessions.loginViaExistingSession.enabled;

  async function identify(
    body: LoginBody & JsonObject,
    from: { ip: string; token: string | undefined },
  ): Promise<Account | undefined> {
    switch (body.type) {
      case 'm.login.password': {
        if (!passwordsWork) break;
        addressLimit.check(from.ip);
        const named = credentials.findAccount(body);
        if (named?.rateLimited !== false) accountLimit.check(attemptKey(body, named));
        return credentials.checkPassword(body);
      }
      case 'm.login.token': {
        addressLimit.check(from.ip);
        const { token } = body;
        if (token === undefined) throw badJson('The key token is missing from the body');
        const userId = db.write((tx) => tokens.takeLoginToken(tx, token));
        if (userId === undefined) throw forbidden('This login token is not valid');
        return users.find(userId);
      }
      case 'm.login.application_service': {
        if (from.token === undefined) throw missingToken('This needs the token of an application service');
        const service = appservices?.findByToken(from.token);
        if (service === undefined) throw unknownToken('This is not the token of an application service');
        const account = credentials.findAccount(body);
        if (account === undefined) throw forbidden('The application service has not registered that user');
        if (!service.covers(account.userId)) {
          throw new MatrixError('M_EXCLUSIVE', 'That user is not one of the application service', { status: 400 });
        }
        return account;
      }
      default:
    }
    throw unknownError('This login type is not on offer');
  }

  return {
    flows: () => [
      ...(passwordsWork ? [{ type: 'm.login.password' }] : []),
      ...(tokensWork ? [{ type: 'm.login.token', get_login_token: true }] : []),
      ...(appservices?.any() === true ? [{ type: 'm.login.application_service' }] : []),
    ],

    logIn: async (body, from) => {
      const account = await identify(body, from);
      if (account === undefined) throw forbidden('This account is gone');
      if (account.deactivated) throw new MatrixError('M_USER_DEACTIVATED', 'This account has been deactivated');
      if (account.locked) {
        throw new MatrixError('M_USER_LOCKED', 'This account is locked', { fields: { soft_logout: true } });
      }
      const { userId } = account;
      const session = db.write((tx) =>
        tokens.issue(tx, {
          userId,
          deviceId: body.device_id,
          initialDisplayName: body.initial_device_display_name,
          refreshable: body.refresh_token === true,
        }),
      );
      return { userId, session };
    },
  };
}
