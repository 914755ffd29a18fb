import type { RateLimit } from '../../http/rate-limit.ts';
import { type Requester, route, type Route } from '../../http/route.ts';
import { Type } from '../../http/type.ts';
import { invalidParam, missingParam } from '../../matrix/errors.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { DelayedEvents } from './service.ts';
import type { DelayedEvent, FinalisedPlace } from './store.ts';

const FINALISED_PAGE = 100;

const ACTIONS = ['send', 'cancel', 'restart'] as const;
type Action = (typeof ACTIONS)[number];

/**
 * Looking after delayed events (MSC4140). Whoever knows a delay ID may act on it without an account: it was made so that
 * a call's server can speak for a client that is gone.
 */
export function delayedEventRoutes(delayed: DelayedEvents, limit: RateLimit): Route[] {
  const all = '/_matrix/client/unstable/org.matrix.msc4140/delayed_events';
  const one = `${all}/:delayId`;
  const params = Type.Object({ delayId: Type.String() });

  const checkLimit = (requester: Requester | undefined, ip: string): void => {
    if (requester === undefined) limit.check(ip);
    else limit.checkFor(requester, requester.userId);
  };
  const act = async (action: Action, delayId: string): Promise<JsonObject> => {
    if (action === 'send') await delayed.sendNow(delayId);
    else if (action === 'cancel') await delayed.cancel(delayId);
    else delayed.restart(delayId);
    return {};
  };

  return [
    route({
      method: 'GET',
      path: all,
      auth: 'user',
      guests: true,
      query: Type.Object({
        status: Type.Optional(Type.Union([Type.Literal('scheduled'), Type.Literal('finalised')])),
        delay_id: Type.Optional(Type.Array(Type.String())),
        from: Type.Optional(Type.String()),
      }),
      handle: ({ requester, query, ip }) => {
        checkLimit(requester, ip);
        const { userId } = requester;
        const wanted = query.delay_id === undefined ? undefined : new Set(query.delay_id);
        const isWanted = ({ delayId }: DelayedEvent): boolean => wanted === undefined || wanted.has(delayId);
        const scheduled = delayed.listScheduled(userId).filter(isWanted).map(describe);
        // The first key is what the proposal has in the end; the others are what clients know from its earlier forms.
        const lists: Record<string, JsonObject[] | string> = { delayed_events: scheduled };
        if (query.status !== 'finalised') lists['scheduled'] = scheduled;
        if (query.status === 'scheduled') return lists;
        const after = query.from === undefined ? undefined : readPlace(query.from);
        const page = delayed.listFinalised(userId, after, FINALISED_PAGE);
        lists['finalised'] = page.filter(isWanted).map(describeEnd);
        const last = page.at(-1);
        if (page.length === FINALISED_PAGE && last?.finalised !== undefined) {
          lists['next_batch'] = `${last.finalised.ts}_${last.delayId}`;
        }
        return lists;
      },
    }),
    route({
      method: 'GET',
      path: one,
      auth: 'user',
      guests: true,
      params,
      handle: ({ requester, params: { delayId }, ip }) => {
        checkLimit(requester, ip);
        return describe(delayed.get(requester.userId, delayId));
      },
    }),
    route({
      method: 'POST',
      path: one,
      auth: 'optional',
      guests: true,
      params,
      body: Type.Object({ action: Type.Optional(Type.String()) }),
      handle: ({ requester, params: { delayId }, body, ip }) => {
        if (body.action === undefined) throw missingParam('The key action is missing');
        const action = ACTIONS.find((known) => known === body.action);
        if (action === undefined) throw invalidParam(`The key action must be one of ${ACTIONS.join(', ')}`);
        checkLimit(requester, ip);
        return act(action, delayId);
      },
    }),
    ...ACTIONS.map((action) =>
      route({
        method: 'POST',
        path: `${one}/${action}`,
        auth: 'optional',
        guests: true,
        params,
        handle: ({ requester, params: { delayId }, ip }) => {
          checkLimit(requester, ip);
          return act(action, delayId);
        },
      }),
    ),
  ];
}

/** One delayed event. The same facts stand under the names of several forms of the proposal. */
function describe(event: DelayedEvent): JsonObject {
  const { delayId, roomId, type, stateKey, delayMs, dueTs, content, finalised } = event;
  const since = dueTs - delayMs;
  return {
    delay_id: delayId,
    room_id: roomId,
    type,
    ...(stateKey === undefined ? {} : { state_key: stateKey }),
    delay: delayMs,
    delay_ms: delayMs,
    running_since: since,
    scheduled_at: since,
    delayed_since_ts: since,
    content,
    ...(finalised === undefined ? {} : { ...endOf(event), finalised_ts: finalised.ts, finalised: endOf(event, true) }),
  };
}

function endOf({ finalised }: DelayedEvent, withTime = false): JsonObject {
  if (finalised === undefined) return {};
  return {
    ...(finalised.error === undefined ? {} : { error: finalised.error }),
    ...(finalised.eventId === undefined ? {} : { event_id: finalised.eventId }),
    ...(withTime ? { finalised_ts: finalised.ts } : {}),
  };
}

function describeEnd(event: DelayedEvent): JsonObject {
  const { finalised, dueTs } = event;
  if (finalised === undefined) return {};
  const wasSent = finalised.eventId !== undefined;
  const inTime = finalised.ts >= dueTs ? 'delay' : 'action';
  return {
    delayed_event: describe(event),
    outcome: wasSent ? 'send' : 'cancel',
    reason: finalised.error !== undefined ? 'error' : wasSent ? inTime : 'action',
    ...endOf(event),
    ...(wasSent ? { origin_server_ts: finalised.ts } : {}),
  };
}

function readPlace(text: string): FinalisedPlace {
  const [, ts, delayId = ''] = /^([0-9]{1,15})_([A-Za-z0-9]+)$/.exec(text) ?? [];
  if (ts === undefined) throw invalidParam('from: not a token this server gave out');
  return { ts: Number(ts), delayId };
}
