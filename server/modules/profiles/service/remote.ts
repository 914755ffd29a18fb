import { LRUCache } from 'lru-cache';
import { federationPath } from '../../../federation/path.ts';
import type { FederationClient } from '../../../federation/types.ts';
import { notFound } from '../../../matrix/errors.ts';
import { serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../../matrix/json.ts';
import { asMatrixError } from '../../../rooms/remote/failures.ts';
import type { Clock } from '../../../util/clock.ts';
import type { RemoteProfiles } from './profiles.ts';

/** A client that opens a member list asks for many at once; nobody minds a name that is a minute old. */
const KEPT_MS = 60_000;
const PROFILES_KEPT = 1_000;
/** Spec: "Profiles": 64 KiB; what is larger is no profile. */
const MAX_BYTES = 66_000;
const TIMEOUT_MS = 10_000;

interface Kept {
  readonly fetchedAt: number;
  readonly profile: Promise<JsonObject>;
}

/** Profiles of users of other servers, as these give them (server-server API, "Querying for information"). */
export function remoteProfiles({ client, clock }: { client: FederationClient; clock: Clock }): RemoteProfiles {
  const kept = new LRUCache<string, Kept>({ max: PROFILES_KEPT });

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
      if (!isJsonObject(answer)) throw notFound('Their server gave no profile');
      return withoutBadFace(answer);
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
      // Those who ask meanwhile get the same answer; the next one may try again.
      profile.catch(() => {
        if (kept.get(key)?.profile === profile) kept.delete(key);
      });
      return profile;
    },
  };
}

/** Clients take these two for text. */
function withoutBadFace(profile: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(profile).filter(
      ([name, value]) => !(name === 'displayname' || name === 'avatar_url') || typeof value === 'string',
    ),
  );
}
