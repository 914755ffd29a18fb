import { MatrixError } from '../../../matrix/errors.ts';
import type { RoomAlias, UserId } from '../../../matrix/identifiers.ts';
import type { AppserviceClient } from './client.ts';
import type { ApplicationService } from './registry.ts';

/** Asks application services for users and aliases that are not there yet (spec: "Querying"). */
export interface Summons {
  /** Whether a service says that there is such a user (now). One that does not answer says nothing. */
  user(userId: UserId): Promise<boolean>;
  /**
   * Whether a service says that there is such an alias (now).
   * @throws MatrixError M_UNKNOWN (408) where the one it belongs to does not answer
   */
  alias(alias: RoomAlias): Promise<boolean>;
}

export function createSummons(services: readonly (readonly [ApplicationService, AppserviceClient])[]): Summons {
  /** What is being asked: whoever wants to know the same meanwhile gets the same answer. */
  const underWay = new Map<string, Promise<boolean>>();

  function once(key: string, ask: () => Promise<boolean>): Promise<boolean> {
    const known = underWay.get(key);
    if (known !== undefined) return known;
    const asked = ask().finally(() => underWay.delete(key));
    underWay.set(key, asked);
    return asked;
  }

  async function askUser(userId: UserId): Promise<boolean> {
    for (const [service, client] of services) {
      if (!service.mayHave(userId)) continue;
      const outcome = await client.query('users', encodeURIComponent(userId));
      if (outcome.kind === 'answer' && outcome.status === 200) return true;
    }
    return false;
  }

  async function askAlias(alias: RoomAlias): Promise<boolean> {
    for (const [service, client] of services) {
      if (!service.hasAlias(alias)) continue;
      const outcome = await client.query('rooms', encodeURIComponent(alias));
      if (outcome.kind === 'answer' && outcome.status === 200) return true;
      if (outcome.kind === 'silence' && service.ownsAlias(alias)) {
        throw new MatrixError('M_UNKNOWN', 'The application service of this alias does not answer', { status: 408 });
      }
    }
    return false;
  }

  return {
    user: (userId) => once(userId, () => askUser(userId)),
    alias: (alias) => once(alias, () => askAlias(alias)),
  };
}
