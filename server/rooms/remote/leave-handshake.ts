import { FederationError } from '../../federation/errors.ts';
import type { RoomEvent } from '../../matrix/events/event.ts';
import type { ServerName } from '../../matrix/identifiers.ts';
import type { JsonValue } from '../../matrix/json.ts';
import { isUnknownOperation } from './failures.ts';
import { makeEvent, sendPath } from './handshake.ts';
import type { RemoteChange, RemoteParts } from './parts.ts';

/** A user who says no to an invite need not wait long for a server that is gone. */
const LEAVE_TIMEOUT_MS = 10_000;

interface LeaveOptions {
  readonly ignoreBackoff: boolean;
  readonly signal?: AbortSignal;
  /** Asked right before the leave is handed in. */
  readonly isStillMeant?: () => boolean;
}

/**
 * Hands a leave in at a server of the room (server-server API, "Leaving Rooms"). Undefined where it was no longer meant
 * once it was made. @throws FederationError
 */
export async function leaveThrough(
  parts: Pick<RemoteParts, 'client' | 'clock' | 'random' | 'serverName' | 'signingKey'>,
  server: ServerName,
  change: RemoteChange,
  { isStillMeant, ...given }: LeaveOptions,
): Promise<RoomEvent | undefined> {
  const options = { timeoutMs: LEAVE_TIMEOUT_MS, ...given };
  const event = await makeEvent(parts, 'leave', server, change, options);
  if (isStillMeant?.() === false) return undefined;
  const send = (api: 'v1' | 'v2'): Promise<JsonValue> =>
    parts.client.request({
      destination: server,
      method: 'PUT',
      path: sendPath(api, 'leave', event),
      body: event.pdu,
      ...options,
    });
  try {
    await send('v2');
  } catch (error) {
    if (!isUnknownOperation(error)) throw error;
    await send('v1');
  }
  return event;
}

/** Whether a server that did not take a leave never will: it does not know the room, the invite, or wants no such leave. */
export function isSettled(failure: unknown): boolean {
  if (!(failure instanceof FederationError)) return false;
  if (failure.kind === 'denied') return true;
  // Without an errcode it may be something in front of the server that answered.
  const { kind, status = 0, errcode } = failure;
  return kind === 'refused' && errcode !== undefined && [400, 403, 404, 405].includes(status);
}
