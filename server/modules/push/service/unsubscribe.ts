import { createHmac, timingSafeEqual } from 'node:crypto';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { Database } from '../../../storage/types.ts';
import type { Random } from '../../../util/random.ts';
import type { MailThrottleStore } from '../store/mail-throttles.ts';
import type { Pusher } from '../store/pushers.ts';

/** What a link in a mail names. */
export interface UnsubscribeRequest {
  readonly userId: UserId;
  readonly appId: string;
  readonly pushkey: string;
  readonly token: string;
}

/** Links by which whoever got a mail can do without further ones, logged in or not. */
export interface UnsubscribeLinks {
  linkFor(pusher: Pick<Pusher, 'userId' | 'appId' | 'pushkey'>): string;
  /** Whether the link was made here. It stays good for as long as the server has its database. */
  isGood(request: UnsubscribeRequest): boolean;
}

export const UNSUBSCRIBE_PATH = '/_synapse/client/unsubscribe';
const KEY_BYTES = 32;

export function unsubscribeLinks({
  db,
  random,
  store,
  publicBaseUrl,
}: {
  readonly db: Pick<Database, 'write'>;
  readonly random: Random;
  readonly store: Pick<MailThrottleStore, 'findKey' | 'insertKey'>;
  readonly publicBaseUrl: string;
}): UnsubscribeLinks {
  let key: Buffer | undefined;
  const getKey = (): Buffer => {
    key ??= store.findKey();
    if (key !== undefined) return key;
    const made = random.bytes(KEY_BYTES);
    db.write((tx) => store.insertKey(tx, made));
    return made;
  };
  const sign = ({ userId, appId, pushkey }: Pick<Pusher, 'userId' | 'appId' | 'pushkey'>): Buffer =>
    createHmac('sha256', getKey())
      .update(JSON.stringify(['unsubscribe', userId, appId, pushkey]))
      .digest();
  return {
    linkFor: (pusher) => {
      const url = new URL(`${publicBaseUrl.replace(/\/+$/, '')}${UNSUBSCRIBE_PATH}`);
      url.searchParams.set('user_id', pusher.userId);
      url.searchParams.set('app_id', pusher.appId);
      url.searchParams.set('pushkey', pusher.pushkey);
      url.searchParams.set('token', sign(pusher).toString('base64url'));
      return url.href;
    },
    isGood: (request) => {
      const given = Buffer.from(request.token, 'base64url');
      const wanted = sign(request);
      return given.length === wanted.length && timingSafeEqual(given, wanted);
    },
  };
}
