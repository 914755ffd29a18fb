import type * as Argon2 from '@node-rs/argon2';
import type * as Bcrypt from '@node-rs/bcrypt';
import { MatrixError, invalidParam, missingParam } from '../../../matrix/errors.ts';
import type { Random } from '../../../util/random.ts';
import type { PasswordPolicy } from './settings.ts';

/** Longest password in characters. Hashing must not be made to chew on megabytes. */
export const MAX_PASSWORD_LENGTH = 512;

// OWASP's minimum for Argon2id: 19 MiB, two passes, one lane. About 20 ms in a thread of the pool.
const COST = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

// Loaded when the first password comes: neither the start nor a server at rest needs them.
const argon2 = (): Promise<typeof Argon2> => import('@node-rs/argon2');
const bcrypt = (): Promise<typeof Bcrypt> => import('@node-rs/bcrypt');

/** What a verification found out. */
interface PasswordVerdict {
  readonly correct: boolean;
  /** The hash is of an older kind: with the right password at hand it can be made anew. */
  readonly outdated: boolean;
}

/** Makes and checks hashes of passwords, in native threads. */
export interface Passwords {
  /** An Argon2id hash of a password that has passed the policy. */
  hash(password: string): Promise<string>;
  /**
   * Compares a password with a hash, Argon2 or bcrypt. Without a hash (nobody of that name, or no password set) the
   * answer is no, and takes as long as any other.
   */
  verify(password: string, hash: string | undefined): Promise<PasswordVerdict>;
}

/** `pepper` is a secret of the server's own that goes into every hash; empty for none. */
export function createPasswords({ pepper, random }: { pepper: string; random: Random }): Passwords {
  const secret = pepper === '' ? {} : { secret: Buffer.from(pepper) };
  let decoy: Promise<string> | undefined;

  // What looks the same when typed on two keyboards is the same password (NFKC, as other homeservers' hashes assume).
  const normalize = (password: string): string => password.normalize('NFKC');

  async function hashOf(password: string): Promise<string> {
    const { hash } = await argon2();
    return hash(normalize(password), { ...COST, ...secret, salt: random.bytes(16) });
  }

  return {
    hash: hashOf,
    verify: async (password, stored) => {
      if (password.length > MAX_PASSWORD_LENGTH) return { correct: false, outdated: false };
      const { parseOptions, verify } = await argon2();
      if (stored === undefined) {
        decoy ??= hashOf(random.bytes(16).toString('hex'));
        await verify(await decoy, normalize(password), secret);
        return { correct: false, outdated: false };
      }
      if (stored.startsWith('$2')) {
        const correct = await (await bcrypt()).verify(normalize(password) + pepper, stored);
        return { correct, outdated: true };
      }
      return { correct: await verify(stored, normalize(password), secret), outdated: isWeaker(parseOptions(stored)) };
    },
  };
}

function isWeaker({ memoryCost, timeCost }: { memoryCost: number; timeCost: number }): boolean {
  return memoryCost < COST.memoryCost || timeCost < COST.timeCost;
}

/**
 * Checks a new password. Throws M_MISSING_PARAM without one, M_INVALID_PARAM if it is too long to be hashed,
 * M_WEAK_PASSWORD if the policy refuses it (spec: "Password management").
 */
export function checkNewPassword(password: unknown, policy: PasswordPolicy): string {
  if (password === undefined) throw missingParam('A password is needed');
  if (typeof password !== 'string') throw invalidParam('The password must be text');
  if (password.length > MAX_PASSWORD_LENGTH) {
    throw invalidParam(`The password is longer than ${MAX_PASSWORD_LENGTH} characters`);
  }
  const weakness = findWeakness(password, policy);
  if (weakness !== undefined) throw new MatrixError('M_WEAK_PASSWORD', weakness, { status: 400 });
  return password;
}

function findWeakness(password: string, policy: PasswordPolicy): string | undefined {
  if (password === '') return 'The password is empty';
  if (!policy.enabled) return undefined;
  if (Array.from(password).length < policy.minimumLength) {
    return `The password must have at least ${policy.minimumLength} characters`;
  }
  if (policy.requireDigit && !/\p{Nd}/u.test(password)) return 'The password must contain a digit';
  if (policy.requireSymbol && !/[^\p{L}\p{N}]/u.test(password)) return 'The password must contain a symbol';
  if (policy.requireUppercase && !/\p{Lu}/u.test(password)) return 'The password must contain an upper-case letter';
  if (policy.requireLowercase && !/\p{Ll}/u.test(password)) return 'The password must contain a lower-case letter';
  return undefined;
}
