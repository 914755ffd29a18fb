import { route, type Route } from '../../../http/route.ts';
import { deviceId, jsonObject, limit } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import { invalidParam } from '../../../matrix/errors.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import { STREAM_START, type StreamPosition } from '../../../storage/types.ts';
import { deviceKeysSchema } from '../routes/client.ts';
import type { DehydratedDevices } from './service.ts';

const DEVICE = '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device';
const EVENTS = `${DEVICE}/:deviceId/events`;

/** Messages in one answer where the client says nothing, and however many it asks for. */
const USUAL_LIMIT = 100;
const MAX_LIMIT = 500;

const eventParams = Type.Object({ deviceId });

/** Dehydrated devices (MSC3814, not in the spec yet). */
export function dehydratedDeviceRoutes(dehydrated: DehydratedDevices): Route[] {
  /** `endless`: there is always a token for more, as the first clients expect, who ask until nothing comes. */
  const listEvents = (
    userId: UserId,
    device: string,
    asked: { readonly from: string | undefined; readonly limit: number | undefined; readonly endless: boolean },
  ): JsonObject => {
    const after = asked.from === undefined ? STREAM_START : parseToken(asked.from);
    const wanted = Math.min(Math.max(asked.limit ?? USUAL_LIMIT, 1), MAX_LIMIT);
    const { messages, isLast } = dehydrated.listMessages(userId, device, { after, limit: wanted });
    return {
      events: messages.map(({ sender, type, content }) => ({ sender, type, content })),
      ...(isLast && !asked.endless ? {} : { next_batch: `d${messages.at(-1)?.position ?? after}` }),
    };
  };

  return [
    route({
      method: 'PUT',
      path: DEVICE,
      auth: 'user',
      body: Type.Object({
        device_id: deviceId,
        device_data: Type.Object({ algorithm: Type.String() }),
        device_keys: deviceKeysSchema,
        one_time_keys: Type.Optional(jsonObject),
        fallback_keys: Type.Optional(jsonObject),
        initial_device_display_name: Type.Optional(Type.String()),
      }),
      handle: ({ requester, body }) => {
        const { device_id: id, device_data: data, initial_device_display_name: displayName, ...keys } = body;
        dehydrated.put(requester.userId, { deviceId: id, data, displayName, ...keys });
        return { device_id: id };
      },
    }),
    route({
      method: 'GET',
      path: DEVICE,
      auth: 'user',
      handle: ({ requester }) => {
        const found = dehydrated.get(requester.userId);
        return { device_id: found.deviceId, device_data: found.data };
      },
    }),
    route({
      method: 'DELETE',
      path: DEVICE,
      auth: 'user',
      handle: ({ requester }) => ({ device_id: dehydrated.remove(requester.userId) }),
    }),
    route({
      method: 'GET',
      path: EVENTS,
      auth: 'user',
      params: eventParams,
      query: Type.Object({ from: Type.Optional(Type.String()), limit: Type.Optional(limit) }),
      handle: ({ requester, params, query }) =>
        listEvents(requester.userId, params.deviceId, { from: query.from, limit: query.limit, endless: false }),
    }),
    route({
      method: 'POST',
      path: EVENTS,
      auth: 'user',
      params: eventParams,
      query: Type.Object({ limit: Type.Optional(limit) }),
      body: Type.Object({ next_batch: Type.Optional(Type.String()) }),
      emptyBodyAllowed: true,
      handle: ({ requester, params, query, body }) =>
        listEvents(requester.userId, params.deviceId, { from: body.next_batch, limit: query.limit, endless: true }),
    }),
  ];
}

function parseToken(token: string): StreamPosition {
  const position = /^d([0-9]{1,15})$/.exec(token)?.[1];
  if (position === undefined) throw invalidParam('This is no token of such an answer');
  return Number(position) as StreamPosition;
}
