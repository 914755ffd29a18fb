import { createHmac, timingSafeEqual } from 'node:crypto';
import { badJson, forbidden, invalidParam, unknownError } from '../../../matrix/errors.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { Random } from '../../../util/random.ts';
import type { AccountMaker } from './account-maker.ts';
import { MAX_PASSWORD_LENGTH, type Passwords } from './passwords.ts';
import type { RegistrationSettings } from './settings.ts';
import type { IssuedTokens, Tokens } from './tokens.ts';
import type { Usernames } from './usernames.ts';

const NONCE_LIFETIME_MS = 60_000;
/** Anybody can ask for one; the oldest is forgotten when there are more. */
const MAX_NONCES = 1_000;

interface SharedSecretOrder {
  readonly nonce: string;
  readonly username: string;
  readonly password: string;
  /** Hexadecimal. */
  readonly mac: string;
  readonly admin?: boolean | undefined;
  readonly user_type?: string | null | undefined;
  readonly displayname?: string | undefined;
  readonly inhibit_login?: boolean | undefined;
}

/** Registration by a tool that knows the server's shared secret (reference chapter 057). */
export interface SharedSecretRegistration {
  /** Throws M_UNKNOWN where no secret is set. */
  createNonce(): string;
  /** Throws M_FORBIDDEN if the MAC is wrong, M_UNKNOWN if the nonce is, M_INVALID_USERNAME, M_USER_IN_USE, M_INVALID_PARAM. */
  register(order: SharedSecretOrder): Promise<{ userId: UserId; session: IssuedTokens | undefined }>;
}

export function createSharedSecretRegistration(needs: {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly settings: RegistrationSettings;
  readonly usernames: Usernames;
  readonly passwords: Passwords;
  readonly maker: AccountMaker;
  readonly tokens: Tokens;
}): SharedSecretRegistration {
  const { db, clock, random, settings, usernames, passwords, maker, tokens } = needs;
  /** Nonce to when it was given out (monotonic ms), oldest first. */
  const nonces = new Map<string, number>();

  function getSecret(): string {
    if (settings.sharedSecret === undefined) throw unknownError('Registration by shared secret is not switched on');
    return settings.sharedSecret;
  }

  function takeNonce(nonce: string): void {
    const since = nonces.get(nonce);
    nonces.delete(nonce);
    if (since === undefined || clock.monotonic() - since > NONCE_LIFETIME_MS) {
      throw unknownError('The nonce is not known, or has been used or expired');
    }
  }

  return {
    createNonce: () => {
      getSecret();
      const nonce = random.bytes(32).toString('hex');
      nonces.set(nonce, clock.monotonic());
      const [oldest] = nonces.keys();
      if (nonces.size > MAX_NONCES && oldest !== undefined) nonces.delete(oldest);
      return nonce;
    },

    register: async (order) => {
      const secret = getSecret();
      takeNonce(order.nonce);
      // The parts are joined by NUL: one inside would let the same MAC mean something else.
      if (order.username.includes('\0') || order.password.includes('\0')) throw badJson('NUL is not allowed');
      const userType = order.user_type ?? undefined;
      const parts = [order.nonce, order.username, order.password, order.admin === true ? 'admin' : 'notadmin'];
      if (userType !== undefined) parts.push(userType);
      const expected = createHmac('sha1', secret).update(parts.join('\0')).digest();
      const given = Buffer.from(order.mac, 'hex');
      if (given.length !== expected.length || !timingSafeEqual(given, expected))
        throw forbidden('The MAC is not right');

      if (order.password === '' || order.password.length > MAX_PASSWORD_LENGTH) {
        throw invalidParam(`A password has 1 to ${MAX_PASSWORD_LENGTH} characters`);
      }
      if (userType !== undefined && !['bot', 'support', ...settings.extraUserTypes].includes(userType)) {
        throw invalidParam('This type of user is not known');
      }
      const userId = usernames.parse(order.username);
      usernames.checkFree(userId);
      const passwordHash = await passwords.hash(order.password);
      const isAdmin = order.admin === true;
      return db.write((tx) => {
        maker.create(tx, { userId, kind: 'user', passwordHash, isAdmin, userType, displayName: order.displayname });
        const login = { userId, deviceId: undefined, initialDisplayName: undefined, refreshable: false };
        return { userId, session: order.inhibit_login === true ? undefined : tokens.issue(tx, login) };
      });
    },
  };
}
