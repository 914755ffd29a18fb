import { badJson, missingParam, MatrixError } from '../../../matrix/errors.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { RegistrationTokenStore } from '../store/registration-tokens.ts';
import type { Credentials } from './credentials.ts';
import type { AccountLimits } from './needs.ts';
import {
  DUMMY,
  EMAIL,
  FinalRefusal,
  MSISDN,
  PASSWORD,
  RECAPTCHA,
  REGISTRATION_TOKEN,
  type Stage,
  TERMS,
} from './interactive-auth.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { ProvedAddress, Proofs } from './proofs.ts';

/** What a proved address may serve for. */
const PURPOSES: Readonly<Record<string, 'register' | 'password'>> = {
  register: 'register',
  'change password': 'password',
};

/** What clients have to know to complete a stage. */
export function stageParams(stage: string, { captcha, terms }: Proofs): JsonObject | undefined {
  if (stage === RECAPTCHA && captcha !== undefined) return { public_key: captcha.publicKey };
  return stage === TERMS ? terms?.params : undefined;
}

/** The address that a stage has found proved. */
export function provedAddress(result: JsonValue | undefined): ProvedAddress | undefined {
  if (!isJsonObject(result)) return undefined;
  const { sid, medium, address, validated_at: validatedMs } = result;
  if (medium !== 'email' && medium !== 'msisdn') return undefined;
  if (typeof sid !== 'string' || typeof address !== 'string' || typeof validatedMs !== 'number') return undefined;
  return { sid, medium, address, validatedMs };
}

/** The stages this server can run (spec: "Authentication types"). What is not here is never offered. */
export function createStages(needs: {
  readonly db: Database;
  readonly clock: Pick<Clock, 'now'>;
  readonly credentials: Pick<Credentials, 'checkPassword'>;
  readonly registrationTokens: RegistrationTokenStore;
  readonly limits: Pick<AccountLimits, 'registrationTokenValidity'>;
  readonly proofs: () => Proofs;
}): Readonly<Record<string, Stage>> {
  const { db, clock, credentials, registrationTokens, limits, proofs } = needs;

  /** Spec: "Email-based (identity / homeserver)", "Phone number/MSISDN-based (identity / homeserver)". */
  const threepid =
    (medium: 'email' | 'msisdn'): Stage =>
    async ({ auth, operation }) => {
      // Clients of old write the second name.
      const given = auth['threepid_creds'] ?? auth['threepidCreds'];
      if (given === undefined) throw missingParam('The key auth.threepid_creds is missing');
      if (!isJsonObject(given)) throw badJson('The key auth.threepid_creds must be an object');
      const { sid, client_secret: clientSecret } = given;
      if (typeof sid !== 'string' || typeof clientSecret !== 'string') {
        throw badJson('The keys sid and client_secret of auth.threepid_creds must be text');
      }
      const purpose = PURPOSES[operation];
      const found =
        purpose === undefined ? undefined : await proofs().threepids?.findValidated(purpose, medium, sid, clientSecret);
      if (found === undefined) {
        throw new MatrixError('M_UNAUTHORIZED', 'The address has not been confirmed yet');
      }
      if (purpose === 'register' && proofs().threepids?.findOwner(medium, found.address) !== undefined) {
        throw new MatrixError('M_THREEPID_IN_USE', 'An account here has that address already', { status: 400 });
      }
      return { sid: found.sid, medium, address: found.address, validated_at: found.validatedMs };
    };

  return {
    [DUMMY]: () => true,
    [EMAIL]: threepid('email'),
    [MSISDN]: threepid('msisdn'),
    [TERMS]: () => true,

    [RECAPTCHA]: async ({ auth, ip }) => {
      const { response } = auth;
      if (typeof response !== 'string' || response === '') {
        throw new MatrixError('M_CAPTCHA_NEEDED', 'The captcha has to be solved', { status: 400 });
      }
      if ((await proofs().captcha?.verify(response, ip)) !== true) {
        throw new MatrixError('M_UNAUTHORIZED', 'The captcha was not solved');
      }
      return true;
    },

    [PASSWORD]: async ({ auth, userId }) => {
      // Clients that know who is logged in leave it out.
      const named = 'identifier' in auth || 'user' in auth || 'medium' in auth;
      const request = named || userId === undefined ? auth : { ...auth, user: userId };
      const account = await credentials.checkPassword(request);
      if (userId !== undefined && account.userId !== userId) {
        throw new FinalRefusal('That is the password of somebody else');
      }
      return account.userId;
    },

    [REGISTRATION_TOKEN]: ({ auth, ip }) => {
      // Guessing here must not be cheaper than where one may ask whether a token is good.
      limits.registrationTokenValidity.check(ip);
      const { token } = auth;
      if (token === undefined) throw missingParam('The key auth.token is missing');
      if (typeof token !== 'string') throw badJson('The key auth.token must be text');
      if (!db.write((tx) => registrationTokens.reserve(tx, token, clock.now()))) {
        throw new MatrixError('M_UNAUTHORIZED', 'This registration token is not valid');
      }
      return token;
    },
  };
}
