import type { RateLimit } from '../../../http/rate-limit.ts';
import type { Reply, Requester } from '../../../http/route.ts';
import { MatrixError, forbidden, missingParam } from '../../../matrix/errors.ts';
import { isUserId, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../../matrix/json.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { TokenStore } from '../store/tokens.ts';
import type { UserStore } from '../store/users.ts';
import { isLastAdministrator } from './administration.ts';
import type { Departures } from './departures.ts';
import { EMAIL, type Flow, type InteractiveAuthSessions, MSISDN, PASSWORD, type Proof } from './interactive-auth.ts';
import type { ProvedAddress, Proofs } from './proofs.ts';
import { provedAddress } from './stages.ts';
import type { Devices } from './needs.ts';
import { checkNewPassword, type Passwords } from './passwords.ts';
import type { PasswordSettings } from './settings.ts';

/** A request that may come from someone who is logged in, or from someone who is not but knows the password. */
interface ManagementRequest {
  readonly requester: Requester | undefined;
  readonly body: JsonObject;
  readonly ip: string;
}

/** What users do to their own accounts (spec: "Password management", "Account deactivation"). */
export interface AccountManagement {
  /**
   * Changes the password after interactive authentication, whose next question the `Reply` is. Other devices are logged
   * out unless `logout_devices` is false. Throws M_FORBIDDEN where passwords cannot be changed, M_WEAK_PASSWORD.
   */
  changePassword(request: ManagementRequest): Promise<Reply | undefined>;
  /**
   * Deactivates the account after interactive authentication, whose next question the `Reply` is. Otherwise tells whether
   * identity servers have forgotten the addresses of the account.
   */
  deactivate(request: ManagementRequest): Promise<Reply | boolean>;
  /** Whether a user may change their password here. */
  canChangePassword(userId: UserId): boolean;
}

export interface AccountManagementNeeds {
  readonly db: Database;
  readonly clock: Pick<Clock, 'now'>;
  readonly settings: PasswordSettings;
  readonly users: UserStore;
  readonly tokens: TokenStore;
  readonly passwords: Passwords;
  readonly sessions: InteractiveAuthSessions;
  readonly departures: Departures;
  readonly devices: Devices;
  readonly addressLimit: RateLimit;
  readonly resetLimit: RateLimit;
  readonly flowsOf: (userId: UserId) => readonly Flow[];
  readonly proofs: () => Proofs;
}

export function createAccountManagement(needs: AccountManagementNeeds): AccountManagement {
  const {
    db,
    clock,
    settings,
    users,
    tokens,
    passwords,
    sessions,
    departures,
    devices,
    addressLimit,
    resetLimit,
    flowsOf,
    proofs,
  } = needs;
  const changesWork = settings.enabled === 'yes' && settings.localDatabase;

  function checkNoGuest(requester: Requester | undefined): void {
    if (requester?.isGuest === true) throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests have no password');
  }

  /** Nobody could put things right on this server any more. */
  function checkNotLast(userId: UserId): void {
    if (!isLastAdministrator(users, userId)) return;
    throw forbidden(
      'You are the only administrator of this server: make somebody else one before you close your account',
    );
  }

  /** Without an access token the password says who is there; guessing it must not be cheaper than at login. */
  function flowsFor({ requester, body, ip }: ManagementRequest): readonly Flow[] {
    if (requester !== undefined) return flowsOf(requester.userId);
    const { auth } = body;
    const type = isJsonObject(auth) ? auth['type'] : undefined;
    // Nobody guesses what a mail says, and clients ask again and again whether its link was opened.
    if (auth !== undefined && type !== EMAIL && type !== MSISDN) addressLimit.check(ip);
    return settings.enabled === 'no' || !settings.localDatabase ? [] : [[PASSWORD]];
  }

  /** Somebody who has forgotten their password shows that they read the mail of the account. */
  function resetFlows(request: ManagementRequest): readonly Flow[] {
    const flows = flowsFor(request);
    const { threepids } = proofs();
    if (request.requester !== undefined || threepids === undefined) return flows;
    return [
      ...flows,
      ...(threepids.canVerify('email') ? [[EMAIL]] : []),
      ...(threepids.canVerify('msisdn') ? [[MSISDN]] : []),
    ];
  }

  function addressOf(proof: Proof & { done: true }): ProvedAddress | undefined {
    return provedAddress(proof.completed[EMAIL]) ?? provedAddress(proof.completed[MSISDN]);
  }

  /** Whom the proof is of. Leaving out the access token is no way around a lock. */
  function provenUser(requester: Requester | undefined, proof: Proof & { done: true }): UserId {
    if (requester !== undefined) return requester.userId;
    const userId = ownerOf(proof);
    if (users.find(userId)?.locked === true) {
      throw new MatrixError('M_USER_LOCKED', 'This account is locked', { fields: { soft_logout: true } });
    }
    return userId;
  }

  function ownerOf(proof: Proof & { done: true }): UserId {
    const proved = addressOf(proof);
    if (proved !== undefined) {
      const owner = proofs().threepids?.findOwner(proved.medium, proved.address);
      if (owner !== undefined) return owner;
      throw new MatrixError('M_THREEPID_NOT_FOUND', 'No account here has that address', { status: 404 });
    }
    const userId = proof.completed[PASSWORD];
    if (typeof userId !== 'string' || !isUserId(userId)) throw forbidden('It is not known whose account that is');
    return userId;
  }

  return {
    canChangePassword: (userId) => changesWork && users.find(userId)?.hasPassword === true,

    changePassword: async (request) => {
      const { requester, ip } = request;
      if (!changesWork) throw forbidden('Passwords cannot be changed on this server');
      checkNoGuest(requester);
      const attempt = sessions.open({
        operation: 'change password',
        userId: requester?.userId,
        body: request.body,
        secrets: ['new_password'],
      });
      const kept = attempt.kept?.['password_hash'];
      if (requester === undefined) resetLimit.check(ip);
      let hash: string;
      if (typeof kept === 'string') hash = kept;
      else if (attempt.body['new_password'] === undefined) throw missingParam('The key new_password is missing');
      else hash = await passwords.hash(checkNewPassword(attempt.body['new_password'], settings.policy));
      const proof = await attempt.prove({ flows: resetFlows(request), ip, kept: { password_hash: hash } });
      if (!proof.done) return proof.reply;
      const userId = provenUser(requester, proof);
      db.write((tx) => {
        users.setPasswordHash(tx, userId, hash);
        const proved = addressOf(proof);
        if (proved !== undefined) proofs().threepids?.spend(tx, proved.sid);
        if (attempt.body['logout_devices'] !== false) devices.removeAll(tx, userId, requester?.deviceId);
        if (requester?.tokenId !== undefined) tokens.validated(tx, requester.tokenId, clock.now());
      });
      return undefined;
    },

    deactivate: async (request) => {
      const { requester, ip } = request;
      checkNoGuest(requester);
      const attempt = sessions.open({ operation: 'deactivate', userId: requester?.userId, body: request.body });
      const erase = attempt.body['erase'] === true;
      const { id_server: idServer } = attempt.body;
      const close = async (userId: UserId): Promise<boolean> => {
        checkNotLast(userId);
        const unbinding = proofs().threepids?.unbindAll(userId, typeof idServer === 'string' ? idServer : undefined);
        const unbound = (await unbinding) ?? true;
        departures.deactivate(userId, { erase });
        return unbound;
      };
      if (requester?.appserviceId !== undefined) return close(requester.userId);
      if (requester !== undefined) checkNotLast(requester.userId);
      const proof = await attempt.prove({ flows: flowsFor(request), ip });
      if (!proof.done) return proof.reply;
      return close(provenUser(requester, proof));
    },
  };
}
