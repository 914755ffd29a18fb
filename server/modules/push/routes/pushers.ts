import type { RateLimit } from '../../../http/rate-limit.ts';
import { route, type Route } from '../../../http/route.ts';
import { jsonObject } from '../../../http/schemas.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { Pushers } from '../service/pushers.ts';
import type { Pusher } from '../store/pushers.ts';

/** Spec: client-server API, "Push Notifications", GET /pushers and POST /pushers/set. */
export function pusherRoutes({
  pushers,
  limit,
}: {
  readonly pushers: Pick<Pushers, 'list' | 'set'>;
  readonly limit: RateLimit | undefined;
}): Route[] {
  return [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/pushers',
      auth: 'user',
      handle: ({ requester }) => ({ pushers: pushers.list(requester.userId).map(show) }),
    }),
    route({
      method: 'POST',
      path: '/_matrix/client/v3/pushers/set',
      auth: 'user',
      // What lacks is told with an error code of its own, so it is looked for by hand.
      body: jsonObject,
      handle: ({ requester, body }) => {
        limit?.checkFor(requester, requester.userId);
        pushers.set(requester, body);
        return {};
      },
    }),
  ];
}

function show(pusher: Pusher): JsonObject {
  const { enabled, deviceId } = pusher;
  return {
    pushkey: pusher.pushkey,
    kind: pusher.kind,
    app_id: pusher.appId,
    app_display_name: pusher.appDisplayName,
    device_display_name: pusher.deviceDisplayName,
    profile_tag: pusher.profileTag,
    lang: pusher.lang ?? 'en',
    data: pusher.data,
    // MSC3881: a device may still the pushers of another.
    enabled,
    'org.matrix.msc3881.enabled': enabled,
    ...(deviceId === undefined ? {} : { device_id: deviceId, 'org.matrix.msc3881.device_id': deviceId }),
  };
}
