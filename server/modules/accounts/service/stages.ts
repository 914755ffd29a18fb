import { badJson, missingParam, MatrixError } from '../../../matrix/errors.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { RegistrationTokenStore } from '../store/registration-tokens.ts';
import type { Credentials } from './credentials.ts';
import type { AccountLimits } from './needs.ts';
import { DUMMY, FinalRefusal, PASSWORD, REGISTRATION_TOKEN, type Stage } from './interactive-auth.ts';

/** The stages this server can run (spec: "Authentication types"). What is not here is never offered. */
export function createStages(needs: {
  readonly db: Database;
  readonly clock: Pick<Clock, 'now'>;
  readonly credentials: Pick<Credentials, 'checkPassword'>;
  readonly registrationTokens: RegistrationTokenStore;
  readonly limits: Pick<AccountLimits, 'registrationTokenValidity'>;
}): Readonly<Record<string, Stage>> {
  const { db, clock, credentials, registrationTokens, limits } = needs;
  return {
    [DUMMY]: () => true,

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
