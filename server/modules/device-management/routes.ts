import type { RateLimit } from '../../http/rate-limit.ts';
import { Reply, route, type Requester, type Route } from '../../http/route.ts';
import { deviceId, jsonObject } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { bodyCheck } from '../../http/validate.ts';
import { notFound } from '../../matrix/errors.ts';
import type { DeviceId } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { Database } from '../../storage/types.ts';
import type { Devices } from './service/devices.ts';
import type { Device } from './store.ts';

/** Asks users for a proof of who they are before something is done (spec: "User-Interactive Authentication API"). */
export interface InteractiveAuth {
  guard<Input>(
    request: {
      readonly requester: Requester;
      readonly operation: string;
      readonly body: JsonObject;
      readonly ip: string;
      readonly read: (body: JsonObject) => Input;
    },
    act: (input: Input) => Promise<object> | object,
  ): Promise<object>;
}

const deviceParams = Type.Object({ deviceId });
const checkDevices = bodyCheck(Type.Object({ devices: Type.Array(deviceId) }));
const readDevices = (body: JsonObject): readonly DeviceId[] => (checkDevices(body) as { devices: DeviceId[] }).devices;

/** Spec: "Device management". */
export function deviceRoutes(needs: {
  readonly db: Database;
  readonly devices: Devices;
  readonly interactiveAuth: InteractiveAuth;
  readonly creationLimit: RateLimit;
}): Route[] {
  const { db, devices, interactiveAuth, creationLimit } = needs;
  return [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/devices',
      auth: 'user',
      guests: true,
      handle: ({ requester }) => ({ devices: devices.list(requester.userId).map(toClientDevice) }),
    }),
    route({
      method: 'GET',
      path: '/_matrix/client/v3/devices/:deviceId',
      auth: 'user',
      guests: true,
      params: deviceParams,
      handle: ({ requester, params }) => {
        const device = devices.find(requester.userId, params.deviceId);
        if (device === undefined) throw notFound('There is no such device');
        return toClientDevice(device);
      },
    }),
    route({
      method: 'PUT',
      path: '/_matrix/client/v3/devices/:deviceId',
      auth: 'user',
      guests: true,
      params: deviceParams,
      body: Type.Object({ display_name: Type.Optional(Type.String()) }),
      handle: ({ requester, params, body }) => {
        const { userId } = requester;
        const { display_name: name } = body;
        if (requester.appserviceId !== undefined && !devices.exists(userId, params.deviceId)) {
          creationLimit.checkFor(requester, userId);
          db.write((tx) => devices.ensure(tx, userId, params.deviceId, name));
          return new Reply({ status: 201, body: {} });
        }
        if (name !== undefined) devices.rename(userId, params.deviceId, name);
        else if (!devices.exists(userId, params.deviceId)) throw notFound('There is no such device');
        return {};
      },
    }),
    route({
      method: 'DELETE',
      path: '/_matrix/client/v3/devices/:deviceId',
      auth: 'user',
      params: deviceParams,
      body: jsonObject,
      emptyBodyAllowed: true,
      handle: ({ requester, params, body, ip }) =>
        interactiveAuth.guard(
          { requester, operation: `delete device ${params.deviceId}`, body, ip, read: () => [params.deviceId] },
          (ids) => {
            db.write((tx) => devices.remove(tx, requester.userId, ids));
            return {};
          },
        ),
    }),
    route({
      method: 'POST',
      path: '/_matrix/client/v3/delete_devices',
      auth: 'user',
      body: jsonObject,
      handle: ({ requester, body, ip }) =>
        interactiveAuth.guard({ requester, operation: 'delete devices', body, ip, read: readDevices }, (ids) => {
          db.write((tx) => devices.remove(tx, requester.userId, ids));
          return {};
        }),
    }),
  ];
}

function toClientDevice(device: Device): JsonObject {
  const { deviceId: id, displayName, lastSeenIp, lastSeenMs, userId } = device;
  return {
    device_id: id,
    user_id: userId,
    ...(displayName === undefined ? {} : { display_name: displayName }),
    ...(lastSeenIp === undefined ? {} : { last_seen_ip: lastSeenIp }),
    ...(lastSeenMs === undefined ? {} : { last_seen_ts: lastSeenMs }),
  };
}
