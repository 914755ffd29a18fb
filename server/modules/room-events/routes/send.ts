import { route, type Route } from '../../../http/route.ts';
import {
  durationMs,
  eventId,
  eventType,
  jsonObject,
  nonEmptyText,
  roomId,
  stateKey,
  timestampMs,
} from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import type { Sending } from '../service/send.ts';

const transactionId = nonEmptyText(255);
/** When it happened, for application services (spec: application service API, "Timestamp massaging"). */
const query = Type.Object({ ts: Type.Optional(timestampMs) });
const DELAY = 'org.matrix.msc4140.delay';
/** The same with a delay in ms (MSC4140). */
const delayableQuery = Type.Object({ ts: Type.Optional(timestampMs), [DELAY]: Type.Optional(durationMs) });

/** Spec: client-server API, "Sending events to a room" and "Redactions". */
export function sendRoutes(sending: Sending): Route[] {
  const room = '/_matrix/client/v3/rooms/:roomId';
  return [
    route({
      method: 'PUT',
      path: `${room}/send/:eventType/:txnId`,
      auth: 'user',
      guests: true,
      params: Type.Object({ roomId, eventType, txnId: transactionId }),
      query: delayableQuery,
      body: jsonObject,
      handle: async ({ requester, params, query: { ts, [DELAY]: delayMs }, body: content }) => {
        const { eventType: type, txnId } = params;
        if (delayMs !== undefined) {
          const draft = { roomId: params.roomId, type, stateKey: undefined, content, transactionId: txnId, ts };
          return { delay_id: sending.schedule({ ...draft, requester, delayMs }) };
        }
        return {
          event_id: await sending.sendMessage({
            requester,
            roomId: params.roomId,
            type,
            content,
            transactionId: txnId,
            ts,
          }),
        };
      },
    }),
    // From before transaction IDs; some bots have never heard of them.
    route({
      method: 'POST',
      path: `${room}/send/:eventType`,
      auth: 'user',
      guests: true,
      params: Type.Object({ roomId, eventType }),
      query,
      body: jsonObject,
      handle: async ({ requester, params, query: { ts }, body: content }) => {
        const type = params.eventType;
        return {
          event_id: await sending.sendMessage({
            requester,
            roomId: params.roomId,
            type,
            content,
            transactionId: undefined,
            ts,
          }),
        };
      },
    }),
    route({
      method: 'PUT',
      // Without a state key it is the empty one, and then the slash may be left out.
      path: [`${room}/state/:eventType`, `${room}/state/:eventType/`, `${room}/state/:eventType/:stateKey`],
      auth: 'user',
      guests: true,
      params: Type.Object({ roomId, eventType, stateKey: Type.Optional(stateKey) }),
      query: delayableQuery,
      body: jsonObject,
      handle: async ({ requester, params, query: { ts, [DELAY]: delayMs }, body: content }) => {
        const { eventType: type, stateKey: key = '' } = params;
        if (delayMs !== undefined) {
          const draft = { roomId: params.roomId, type, stateKey: key, content, transactionId: undefined, ts };
          return { delay_id: sending.schedule({ ...draft, requester, delayMs }) };
        }
        return {
          event_id: await sending.sendState({ requester, roomId: params.roomId, type, stateKey: key, content, ts }),
        };
      },
    }),
    route({
      method: 'PUT',
      // The same in the proposal's newest form, with an operation of its own.
      path: '/_matrix/client/unstable/org.matrix.msc4140/rooms/:roomId/delayed_event/:eventType/:txnId',
      auth: 'user',
      guests: true,
      params: Type.Object({ roomId, eventType, txnId: transactionId }),
      query,
      body: Type.Object({
        delay_ms: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
        state_key: Type.Optional(stateKey),
        content: jsonObject,
      }),
      handle: ({ requester, params, query: { ts }, body }) => ({
        delay_id: sending.schedule({
          requester,
          roomId: params.roomId,
          type: params.eventType,
          stateKey: body.state_key,
          content: body.content,
          transactionId: params.txnId,
          delayMs: body.delay_ms,
          ts,
        }),
      }),
    }),
    route({
      method: 'PUT',
      path: `${room}/redact/:eventId/:txnId`,
      auth: 'user',
      params: Type.Object({ roomId, eventId, txnId: transactionId }),
      query,
      body: jsonObject,
      emptyBodyAllowed: true,
      handle: async ({ requester, params, query: { ts }, body: content }) => {
        const { eventId: target, txnId } = params;
        return {
          event_id: await sending.redact({
            requester,
            roomId: params.roomId,
            target,
            content,
            transactionId: txnId,
            ts,
          }),
        };
      },
    }),
    route({
      // NOT-SPEC: the spec has only PUT with a transaction ID; others have long served this too.
      method: 'POST',
      path: `${room}/redact/:eventId`,
      auth: 'user',
      params: Type.Object({ roomId, eventId }),
      query,
      body: jsonObject,
      emptyBodyAllowed: true,
      handle: async ({ requester, params, query: { ts }, body: content }) => ({
        event_id: await sending.redact({
          requester,
          roomId: params.roomId,
          target: params.eventId,
          content,
          transactionId: undefined,
          ts,
        }),
      }),
    }),
  ];
}
