import type { Edu, EduHandler } from '../../federation/types.ts';
import { badJson } from '../../matrix/errors.ts';
import { isUserId, serverNameOf, type UserId } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../matrix/json.ts';
import type { Clock } from '../../util/clock.ts';
import { Pace } from '../../util/pace.ts';
import { MAX_STATUS_BYTES } from './service/presence.ts';
import type { PresenceState } from './store.ts';

/** Users taken from one EDU. */
const MAX_USERS = 1_000;
/** How long is worked on one EDU at a stretch, ms. */
const SLICE_MS = 5;

/** m.presence (server-server API, "Presence"): a server speaks for its own users only. */
export function presenceEdu(remote: { accept(said: SaidPresence): void }, clock: Pick<Clock, 'monotonic'>): EduHandler {
  return {
    accept: async (origin, content) => {
      const { push } = content;
      if (!Array.isArray(push)) throw badJson('push is not a list');
      const pace = new Pace(clock, SLICE_MS);
      for (const entry of push.slice(0, MAX_USERS)) {
        await pace.step();
        const said = readEntry(entry);
        if (said !== undefined && serverNameOf(said.userId) === origin) remote.accept(said);
      }
    },
  };
}

/** What another server says of one of its users. */
export interface SaidPresence {
  readonly userId: UserId;
  readonly state: PresenceState;
  readonly statusMsg: string | undefined;
  /** ms before now; undefined if it was not said. */
  readonly lastActiveAgo: number | undefined;
  readonly currentlyActive: boolean;
}

function readEntry(entry: JsonValue): SaidPresence | undefined {
  if (!isJsonObject(entry)) return undefined;
  const { user_id: userId, presence, status_msg: statusMsg, last_active_ago: ago, currently_active: active } = entry;
  if (typeof userId !== 'string' || !isUserId(userId)) return undefined;
  if (presence !== 'online' && presence !== 'unavailable' && presence !== 'offline') return undefined;
  const isShown = typeof statusMsg === 'string' && statusMsg !== '' && Buffer.byteLength(statusMsg) <= MAX_STATUS_BYTES;
  return {
    userId,
    state: presence,
    statusMsg: isShown ? statusMsg : undefined,
    lastActiveAgo: typeof ago === 'number' && ago >= 0 && Number.isFinite(ago) ? ago : undefined,
    currentlyActive: presence === 'online' && active === true,
  };
}

/** The presence of a local user as other servers are told. */
export function toPresenceEdu(userId: UserId, described: JsonObject): Edu {
  // Spec: "Presence": last_active_ago is required.
  return { type: 'm.presence', content: { push: [{ last_active_ago: 0, ...described, user_id: userId }] } };
}
