import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Edu, EduHandler } from '../../federation/types.ts';
import { badJson } from '../../matrix/errors.ts';
import { isUserId, serverNameOf, type UserId } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../matrix/json.ts';
import { MAX_STATUS_BYTES } from './service/presence.ts';
import type { PresenceState } from './store.ts';

/** Users taken from one EDU. */
const MAX_USERS = 1_000;
/** Users who are looked at before others have their turn. */
const AT_ONCE = 20;

/** m.presence (server-server API, "Presence"): a server speaks for its own users only. */
export function presenceEdu(remote: { accept(said: SaidPresence): void }): EduHandler {
  return {
    accept: async (origin, content) => {
      const { push } = content;
      if (!Array.isArray(push)) throw badJson('push is not a list');
      for (const [index, entry] of push.slice(0, MAX_USERS).entries()) {
        if (index > 0 && index % AT_ONCE === 0) await nextTurn();
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
