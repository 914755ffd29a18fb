import type { Requester, Route } from '../../http/route.ts';
import { route } from '../../http/route.ts';
import { Type } from '../../http/type.ts';
import { invalidParam } from '../../matrix/errors.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { Clock } from '../../util/clock.ts';
import { Deadline, type Interest, type Notifier } from '../notifier.ts';
import { type SyncPresence, waitKeys, whilePresent } from '../routes.ts';
import { makeAnswer, type SlidingAnswer, type SlidingNeeds } from './answer.ts';
import type { Connections } from './connections.ts';
import { presence, readRequest, requestBody, type RequestBody, type SlidingRequest, timing } from './request.ts';

export interface SlidingRouteNeeds {
  readonly clock: Clock;
  readonly answers: SlidingNeeds;
  readonly connections: Connections;
  readonly notifier: Notifier;
  readonly presence: SyncPresence | undefined;
  /** The most events per room and answer; undefined for the default. */
  readonly timelineLimit: number | undefined;
}

const query = Type.Object({ ...timing, set_presence: presence });

/** POST of simplified sliding sync (MSC4186). */
export function slidingSyncRoute(needs: SlidingRouteNeeds): Route {
  return route({
    method: 'POST',
    path: '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync',
    auth: 'user',
    guests: true,
    query,
    body: requestBody,
    handle: ({ requester, query: asked, body, signal }) => {
      const request = readRequest(body, requester.userId, needs.timelineLimit);
      const counted = asked.set_presence ?? readPresence(body.set_presence);
      const pos = asked.pos ?? body.pos;
      const timeoutMs = asked.timeout ?? body.timeout ?? 0;
      return whilePresent(needs.presence, requester, counted, async () => {
        const answer = await longPoll(needs, requester, request, { pos, timeoutMs, signal });
        return body.txn_id === undefined ? answer : { ...answer, txn_id: body.txn_id };
      });
    },
  });
}

function readPresence(asked: RequestBody['set_presence']): 'online' | 'unavailable' | 'offline' | undefined {
  if (asked === undefined || asked === 'online' || asked === 'unavailable' || asked === 'offline') return asked;
  throw invalidParam('There is no such presence');
}

async function longPoll(
  needs: SlidingRouteNeeds,
  requester: Requester,
  request: SlidingRequest,
  { pos, timeoutMs, signal }: { pos: string | undefined; timeoutMs: number; signal: AbortSignal },
): Promise<JsonObject> {
  const { userId, deviceId = '' } = requester;
  const deadline = new Deadline(needs.clock, timeoutMs);
  const connection = needs.connections.open({ userId, deviceId, connId: request.connId }, pos);
  let keyCounts: string | undefined;
  for (let acknowledge = true; ; acknowledge = false) {
    const answer = await makeAnswer(needs.answers, requester, connection, request, { acknowledge });
    keyCounts ??= answer.keyCounts;
    const news = connection.initial || !answer.empty || keyCounts !== answer.keyCounts;
    const wait = !news && deadline.remaining() > 0 && !signal.aborted;
    const woken = wait
      ? await needs.notifier.wait(interestOf(needs, requester, request, answer), answer.window.now, deadline, signal)
      : 'timeout';
    if (woken === 'changed') continue;
    // Nobody is there to hear it, so nothing of it may be taken to have been told.
    if (signal.aborted && pos !== undefined) return { pos };
    const { now } = answer.window;
    return { pos: needs.connections.give(connection, now, answer.changes), ...answer.body };
  }
}

/** What can change the answer: whatever happens to the user or device, and in the rooms that the request is about. */
function interestOf(
  needs: SlidingRouteNeeds,
  requester: Requester,
  { lists, subscriptions, extensions }: SlidingRequest,
  { window }: SlidingAnswer,
): Interest {
  const keys = waitKeys(requester);
  // A room anywhere in a list comes to its top when it moves; and whose devices matter depends on all rooms.
  if (extensions.has('e2ee')) return { keys, rooms: window.allJoined };
  if (lists.size > 0) return { keys, rooms: needs.answers.index.of(window.userId).rooms };
  return { keys, rooms: subscriptions };
}
