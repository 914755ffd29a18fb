import type { RoomEvent } from '../../matrix/events/event.ts';
import { isUserId, type ServerName, serverNameOf } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonValue } from '../../matrix/json.ts';
import type { RoomMember } from '../types.ts';
import { asMatrixError, bestError } from './failures.ts';
import { makeEvent, otherServers, sendPath, tryServers } from './handshake.ts';
import { isSettled, leaveThrough } from './leave-handshake.ts';
import type { OwedLeaves } from './owed-leaves.ts';
import type { RemoteChange, RemoteParts } from './parts.ts';
import { readShownState } from './shown-state.ts';

const MAKE_TIMEOUT_MS = 15_000;
const SEND_TIMEOUT_MS = 30_000;
const LEAVE_SERVERS = 3;

/**
 * Knocks on a room of other servers (server-server API, "Knocking upon a room").
 * @throws MatrixError what the servers answered
 */
export async function knock(
  parts: RemoteParts,
  change: RemoteChange & { readonly servers: readonly ServerName[] },
): Promise<void> {
  const servers = otherServers(parts, change.servers, parts.members.listServers(change.roomId));
  await tryServers(servers, (server, options) => knockThrough(parts, server, change, options), bestError);
}

async function knockThrough(
  parts: RemoteParts,
  server: ServerName,
  change: RemoteChange,
  { ignoreBackoff }: { readonly ignoreBackoff: boolean },
): Promise<void> {
  const { db, client, keyRing, outside } = parts;
  const event = await makeEvent(parts, 'knock', server, change, { timeoutMs: MAKE_TIMEOUT_MS, ignoreBackoff });
  const answer = await client.request({
    destination: server,
    method: 'PUT',
    path: sendPath('v1', 'knock', event),
    body: event.pdu,
    timeoutMs: SEND_TIMEOUT_MS,
    ignoreBackoff: true,
  });
  const list = isJsonObject(answer) ? answer['knock_room_state'] : undefined;
  const strippedState = await readShownState(list, event, keyRing);
  db.write((tx) => void outside.put(tx, event, { strippedState }));
}

/**
 * Rejects an invite or takes back a knock (server-server API, "Leaving Rooms"). Where no server of the room can be brought
 * to take it, the invite or knock is gone on this server alone, and those that could not be reached are told later.
 */
export async function leave(parts: RemoteParts, owed: Pick<OwedLeaves, 'put'>, change: RemoteChange): Promise<void> {
  const { db, log, members, outside } = parts;
  const { roomId, userId } = change;
  const member = members.findMember(roomId, userId);
  if (member === undefined || !['invite', 'knock'].includes(member.membership)) return;
  const servers = serversOf(parts, member).slice(0, LEAVE_SERVERS);
  const untold = new Set(servers);
  const attempt = async (server: ServerName, options: { readonly ignoreBackoff: boolean }): Promise<RoomEvent> => {
    try {
      const event = await leaveThrough(parts, server, change, options);
      if (event === undefined) throw new Error('a leave was called off by nobody');
      return event;
    } catch (error) {
      if (isSettled(error)) untold.delete(server);
      throw error;
    }
  };
  try {
    const event = await tryServers(servers, attempt, bestError);
    untold.clear();
    const isEnded = db.write((tx) => outside.put(tx, event, {}) !== undefined);
    if (isEnded) return;
  } catch (error) {
    const { errcode, message } = asMatrixError(error);
    log.info({ roomId, userId, servers, errcode, message }, 'a room could not be left over federation');
  }
  db.write((tx) => {
    const event = outside.withdraw(tx, roomId, userId, change.content);
    if (event === undefined || untold.size === 0) return;
    owed.put(tx, { roomId, userId, eventId: event.eventId, content: change.content, servers: [...untold] });
  });
}

/** Where a room may be reached: whoever invited, and whoever was shown with the invite or knock. */
function serversOf(parts: RemoteParts, member: RoomMember): ServerName[] {
  const { members } = parts;
  const shown = members.listStrippedState(member.roomId, member.userId).flatMap(({ sender }) => serverOfText(sender));
  return otherServers(parts, [serverNameOf(member.sender)], shown, members.listServers(member.roomId));
}

function serverOfText(sender: JsonValue | undefined): ServerName[] {
  return typeof sender === 'string' && isUserId(sender) ? [serverNameOf(sender)] : [];
}
