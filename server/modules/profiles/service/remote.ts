import { LRUCache } from 'lru-cache';
import { federationPath } from '../../../federation/path.ts';
import type { FederationClient } from '../../../federation/types.ts';
import { serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../../matrix/json.ts';
import { asMatrixError, malformed } from '../../../rooms/remote/failures.ts';
import type { Clock } from '../../../util/clock.ts';
import { atMost } from '../../../util/lru.ts';
import type { RemoteProfiles } from './profiles.ts';

/** A client that opens a member list asks for many at once; nobody minds a name that is a minute old. */
const KEPT_MS = 60_000;
const PROFILES_KEPT = 1_000;
/** Larger ones are asked for each time, bytes of JSON; with names and pictures alone it is a tenth of that. */
const LARGEST_KEPT = 4_096;
/** Spec: "Profiles": 64 KiB; what is larger is no profile. */
const MAX_BYTES = 66_000;
const TIMEOUT_MS = 10_000;

interface Kept {
  readonly fetchedAt: number;
  readonly profile: Promise<JsonObject>;
}

/** Profiles of users of other servers, as these give them (server-server API, "Querying for information"). */
export function remoteProfiles({ client, clock }: { client: FederationClient; clock: Clock }): RemoteProfiles {
  const kept = new LRUCache<string, Kept>(atMost(PROFILES_KEPT));

  async function ask(userId: UserId, field: string | undefined): Promise<JsonObject> {
    try {
      const answer = await client.request({
        destination: serverNameOf(userId),
        method: 'GET',
        path: federationPath('/v1/query/profile'),
        query: { user_id: userId, field },
        retries: 'short',
        timeoutMs: TIMEOUT_MS,
        maxBytes: MAX_BYTES,
      });
      if (!isJsonObject(answer)) throw malformed(serverNameOf(userId), 'what it gave is no profile');
      return readable(answer);
    } catch (error) {
      throw asMatrixError(error);
    }
  }

  return {
    fetch: (userId, field) => {
      const key = `${userId} ${field ?? ''}`;
      const known = kept.get(key);
      if (known !== undefined && clock.now() - known.fetchedAt < KEPT_MS) return known.profile;
      const profile = ask(userId, field);
      kept.set(key, { fetchedAt: clock.now(), profile });
      const forget = (): void => {
        if (kept.peek(key)?.profile === profile) kept.delete(key);
      };
      // Those who ask meanwhile get the same answer; after a failure the next one may try again.
      profile.then((found) => JSON.stringify(found).length > LARGEST_KEPT && forget(), forget);
      return profile;
    },
  };
}

/** Without what is not set (spec: it may be null), and what clients take for text only if it is text. */
function readable(profile: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(profile).filter(([name, value]) =>
      name === 'displayname' || name === 'avatar_url' ? typeof value === 'string' : value !== null,
    ),
  );
}
