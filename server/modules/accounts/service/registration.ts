import type { RateLimit } from '../../../http/rate-limit.ts';
import type { Reply } from '../../../http/route.ts';
import {
  forbidden,
  limitExceeded,
  type MatrixError,
  missingParam,
  missingToken,
  unknownToken,
} from '../../../matrix/errors.ts';
import { localpartOf, type DeviceId, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../../matrix/json.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { RegistrationTokenStore } from '../store/registration-tokens.ts';
import type { TokenStore } from '../store/tokens.ts';
import type { UserStore } from '../store/users.ts';
import type { AccountMaker } from './account-maker.ts';
import {
  DUMMY,
  type AuthAttempt,
  EMAIL,
  type Flow,
  type InteractiveAuthSessions,
  MSISDN,
  RECAPTCHA,
  REGISTRATION_TOKEN,
  TERMS,
} from './interactive-auth.ts';
import type { Proofs } from './proofs.ts';
import type { RegistrationGate } from './registration-gate.ts';
import { provedAddress } from './stages.ts';
import type { ApplicationServices } from './needs.ts';
import { checkNewPassword, type Passwords } from './passwords.ts';
import type { AccountsSettings, RegistrationSettings } from './settings.ts';
import { hashToken, type IssuedTokens, type Tokens } from './tokens.ts';
import type { Usernames } from './usernames.ts';

/** The body of `POST /register`, each key checked for its type. */
export interface RegistrationBody {
  readonly username?: string;
  readonly password?: string;
  readonly device_id?: DeviceId;
  readonly initial_device_display_name?: string;
  readonly inhibit_login?: boolean;
  readonly refresh_token?: boolean;
  readonly guest_access_token?: string;
}

/** A new account, with a session unless the client wanted none. */
interface NewUser {
  readonly userId: UserId;
  readonly session: IssuedTokens | undefined;
}

/** Lets people, guests and the users of application services have accounts (spec: "Account registration"). */
export interface Registration {
  /**
   * Registers a user through interactive authentication; the `Reply` is its next question. `parse` checks the body's
   * types. Throws M_FORBIDDEN where registration is closed, M_INVALID_USERNAME, M_USER_IN_USE, M_EXCLUSIVE,
   * M_WEAK_PASSWORD, M_MISSING_PARAM, M_LIMIT_EXCEEDED.
   */
  registerUser(body: JsonObject, parse: (body: JsonObject) => RegistrationBody, ip: string): Promise<NewUser | Reply>;
  /** Throws M_FORBIDDEN where guests are not welcome. */
  registerGuest(initialDisplayName: string | undefined, ip: string): NewUser;
  /** Registers a user in an application service's namespace. `token` is the service's. */
  registerForAppservice(body: RegistrationBody, token: string | undefined): NewUser;
  /** Throws what registering that name would (spec: `GET /register/available`). */
  checkAvailable(username: string): void;
  /** Throws M_FORBIDDEN where registration is closed. */
  checkOpen(): void;
  /** Whether a registration token would be accepted now. Throws M_FORBIDDEN where registration is closed. */
  isTokenValid(token: string): boolean;
}

export interface RegistrationNeeds {
  readonly db: Database;
  readonly clock: { now(): number };
  readonly settings: AccountsSettings;
  readonly gate: RegistrationGate;
  readonly limit: RateLimit;
  readonly users: UserStore;
  readonly tokenStore: TokenStore;
  readonly tokens: Tokens;
  readonly passwords: Passwords;
  readonly usernames: Usernames;
  readonly maker: AccountMaker;
  readonly sessions: InteractiveAuthSessions;
  readonly registrationTokens: RegistrationTokenStore;
  readonly appservices: ApplicationServices | undefined;
  readonly proofs: () => Proofs;
}

export function createRegistration(needs: RegistrationNeeds): Registration {
  const { db, clock, settings, limit, users, tokenStore, tokens, passwords, usernames, maker, sessions } = needs;
  const { gate, registrationTokens, appservices, proofs } = needs;
  const flows = (): readonly Flow[] =>
    registrationFlows({ ...settings.registration, requiresToken: gate.mode !== 'open' }, proofs());
  const isOpen = (): boolean =>
    gate.mode !== 'closed' &&
    settings.passwords.enabled === 'yes' &&
    settings.passwords.localDatabase &&
    flows().length > 0;

  function checkOpen(): void {
    if (!isOpen()) throw closed();
  }

  /** The guest whom an upgrade is for, by the hash of their token (spec: guest access). */
  function findGuest(tokenHash: string, username: string | undefined): UserId {
    const found = tokenStore.findAccess(Buffer.from(tokenHash, 'base64'));
    const account = found === undefined ? undefined : users.find(found.userId);
    if (account?.kind !== 'guest' || account.deactivated || account.locked) {
      throw forbidden('The key guest_access_token is not the token of a guest');
    }
    if (username !== localpartOf(account.userId)) throw forbidden('A guest can only become a user of the same name');
    return account.userId;
  }

  function checkNameBeforehand(wanted: string): void {
    const userId = usernames.parse(wanted);
    if (!settings.registration.inhibitUserInUseError) usernames.checkFree(userId);
  }

  function openSession(tx: WriteTx, userId: UserId, body: RegistrationBody): IssuedTokens | undefined {
    if (body.inhibit_login === true) return undefined;
    return tokens.issue(tx, {
      userId,
      deviceId: body.device_id,
      initialDisplayName: body.initial_device_display_name,
      refreshable: body.refresh_token === true,
    });
  }

  async function hashOf(attempt: AuthAttempt, password: string | undefined): Promise<string | undefined> {
    // The same request as before: its hash is at hand, and making another would cost as much again.
    const kept = attempt.kept?.['password_hash'];
    if (typeof kept === 'string') return kept;
    return password === undefined ? undefined : passwords.hash(checkNewPassword(password, settings.passwords.policy));
  }

  return {
    checkOpen,
    registerUser: async (given, parse, ip) => {
      checkOpen();
      const attempt = sessions.open({
        operation: 'register',
        userId: undefined,
        body: goesOn(given) ? { auth: given['auth'] ?? null } : given,
        secrets: ['password', 'guest_access_token'],
      });
      const body = parse(attempt.body);
      const guestHash = guestHashOf(attempt, body.guest_access_token);
      let guest: UserId | undefined;
      let passwordHash: string | undefined;
      if (attempt.outcome === undefined) {
        const wait = limit.peek(ip);
        if (wait > 0) throw limitExceeded(wait);
        if (guestHash !== undefined) guest = findGuest(guestHash, body.username);
        else if (body.username !== undefined) checkNameBeforehand(body.username);
        passwordHash = await hashOf(attempt, body.password);
      }
      const kept = {
        ...(passwordHash === undefined ? {} : { password_hash: passwordHash }),
        ...(guestHash === undefined ? {} : { guest_hash: guestHash }),
      };
      // Some clients solve the captcha unasked.
      const tolerated = proofs().captcha === undefined ? [] : [RECAPTCHA];
      const proof = await attempt.prove({ flows: flows(), ip, bodyMayChange: true, kept, tolerated });
      if (!proof.done) return proof.reply;
      const { sessionId } = proof;
      const done = sessionId === undefined ? undefined : sessions.findOutcome(sessionId);
      if (done !== undefined) return repeat(done, body);
      // It may have been closed, or a token be asked for, while the password was hashed and the proofs were looked at.
      checkOpen();
      if (gate.mode === 'invitation' && proof.completed[REGISTRATION_TOKEN] === undefined) throw closed();
      if (passwordHash === undefined) throw missingParam('A password is needed');
      limit.check(ip);
      return db.write((tx) => {
        let userId: UserId;
        if (guest === undefined) {
          userId = body.username === undefined ? maker.pickUserId('user') : usernames.parse(body.username);
          maker.create(tx, { userId, kind: 'user', passwordHash, userType: settings.registration.defaultUserType });
        } else {
          userId = guest;
          maker.promoteGuest(tx, userId, passwordHash, body.device_id);
        }
        const token = proof.completed[REGISTRATION_TOKEN];
        if (typeof token === 'string') registrationTokens.complete(tx, token, clock.now());
        for (const stage of [EMAIL, MSISDN]) {
          const proved = provedAddress(proof.completed[stage]);
          if (proved !== undefined) proofs().threepids?.add(tx, userId, proved);
        }
        if (proof.completed[TERMS] === true) proofs().terms?.agreed(tx, userId);
        if (sessionId !== undefined) sessions.settle(tx, sessionId, userId);
        return { userId, session: openSession(tx, userId, body) };
      });
    },

    registerGuest: (initialDisplayName, ip) => {
      if (!settings.registration.guestsAllowed) throw forbidden('This server has no guests');
      limit.check(ip);
      return db.write((tx) => {
        const userId = maker.pickUserId('guest');
        maker.create(tx, { userId, kind: 'guest' });
        const session = tokens.issue(tx, { userId, deviceId: undefined, initialDisplayName, refreshable: false });
        return { userId, session };
      });
    },

    registerForAppservice: (body, token) => {
      if (token === undefined) throw missingToken('This needs the token of an application service');
      const service = appservices?.findByToken(token);
      if (service === undefined) throw unknownToken('This is not the token of an application service');
      const { username } = body;
      if (username === undefined) throw missingParam('The key username is missing');
      const userId = usernames.parse(username, service);
      return db.write((tx) => {
        maker.create(tx, { userId, kind: 'user', appserviceId: service.id });
        return { userId, session: openSession(tx, userId, body) };
      });
    },

    checkAvailable: (username) => {
      checkOpen();
      const userId = usernames.parse(username);
      if (!settings.registration.inhibitUserInUseError) usernames.checkFree(userId);
    },

    isTokenValid: (token) => {
      checkOpen();
      const found = registrationTokens.find(token);
      if (found === undefined || (found.expiresMs !== undefined && found.expiresMs <= clock.now())) return false;
      return found.usesAllowed === undefined || found.pending + found.completed < found.usesAllowed;
    },
  };

  /** The client missed our answer: the same user once more. */
  function repeat(userId: UserId, body: RegistrationBody): NewUser {
    const account = users.find(userId);
    if (account === undefined || account.deactivated || account.locked) throw forbidden('This account is closed');
    return { userId, session: db.write((tx) => openSession(tx, userId, body)) };
  }
}

function closed(): MatrixError {
  return forbidden('Registration is closed on this server');
}

/**
 * Whether that is about the account a session is about already. Whoever opens the link of a mail elsewhere comes with a
 * session and a name for the new device, and knows nothing of the account that was asked for.
 */
function goesOn({ auth, ...asked }: JsonObject): boolean {
  const hasSession = isJsonObject(auth) && typeof auth['session'] === 'string';
  return hasSession && ['username', 'password', 'guest_access_token'].every((key) => asked[key] === undefined);
}

function guestHashOf(attempt: AuthAttempt, token: string | undefined): string | undefined {
  if (token !== undefined) return hashToken(token).toString('base64');
  const kept = attempt.kept?.['guest_hash'];
  return typeof kept === 'string' ? kept : undefined;
}

/**
 * What people have to go through to register. Empty where the administrator asks for a proof that this server cannot
 * take: then nobody may register, rather than everybody.
 */
function registrationFlows(settings: RegistrationSettings, { threepids, captcha, terms }: Proofs): readonly Flow[] {
  const needed = settings.requiredThreepids;
  const canMail = threepids?.canVerify('email') === true;
  const canText = threepids?.canVerify('msisdn') === true && settings.msisdnDisabled !== true;
  const needsCaptcha = settings.captcha?.required === true;
  if (needsCaptcha && captcha === undefined) return [];
  if (settings.requiresTerms === true && terms === undefined) return [];
  const isVerified = needed.length > 0 || needsCaptcha || settings.requiresToken;
  if (!isVerified && !settings.withoutVerification) return [];

  const first: Flow = [
    ...(settings.requiresToken ? [REGISTRATION_TOKEN] : []),
    ...(needsCaptcha ? [RECAPTCHA] : []),
    ...(settings.requiresTerms === true ? [TERMS] : []),
  ];
  const needsMail = needed.includes('email');
  const needsText = needed.includes('msisdn');
  const addresses: Flow[] = [
    ...(canMail && !needsText ? [[EMAIL]] : []),
    ...(canText && !needsMail ? [[MSISDN]] : []),
    ...(canMail && canText ? [[MSISDN, EMAIL]] : []),
  ];
  if (needsMail || needsText) return addresses.map((flow) => [...first, ...flow]);
  // Where there are longer ways, the short one needs an end of its own: nobody shall fall into it on the way.
  const short = first.length === 0 || addresses.length > 0 ? [...first, DUMMY] : first;
  return [short, ...addresses.map((flow) => [...first, ...flow])];
}
