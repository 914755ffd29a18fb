import { Type } from '../../http/type.ts';
import { isDeviceId, isUserId, type UserId } from '../../matrix/identifiers.ts';
import { notFound } from '../../matrix/errors.ts';
import type { Announcer } from '../announcer.ts';
import { call, type ControlCall } from '../control/call.ts';
import type { Empty } from '../contract.ts';
import type { PeoplePort } from './port.ts';

const MOST_AT_ONCE = 200;

/** The people of this server and their devices. */
export function peopleCalls({
  port,
  announcer,
}: {
  port: () => PeoplePort;
  announcer: Pick<Announcer, 'moved'>;
}): ControlCall[] {
  async function change(work: () => Promise<void>): Promise<Empty> {
    await work();
    announcer.moved('people');
    return {};
  }
  return [
    call('GET /people', {
      query: Type.Object({
        kind: Type.Optional(Type.Union([Type.Literal('person'), Type.Literal('guest'), Type.Literal('bridged')])),
        search: Type.Optional(Type.String({ maxLength: 255 })),
        deactivated: Type.Optional(Type.Boolean()),
        from: Type.Optional(Type.Integer({ minimum: 0 })),
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MOST_AT_ONCE })),
      }),
      handle: ({ query: { kind = 'person', from = 0, limit = MOST_AT_ONCE, ...query } }) =>
        port().list({ ...query, kind, from, limit }),
    }),
    call('GET /people/{userId}', { handle: ({ params }) => port().get(userOf(params)) }),
    call('POST /people/{userId}/password', {
      body: Type.Object({ password: Type.String({ maxLength: 512 }), signOut: Type.Boolean() }),
      handle: ({ params, body }) => change(() => port().setPassword(userOf(params), body.password, body.signOut)),
    }),
    call('POST /people/{userId}/deactivate', {
      body: Type.Object({ erase: Type.Boolean() }),
      handle: ({ params, body }) => change(() => port().deactivate(userOf(params), body.erase)),
    }),
    call('PUT /people/{userId}/admin', {
      body: Type.Object({ admin: Type.Boolean() }),
      handle: ({ params, body }) => change(() => port().setAdmin(userOf(params), body.admin)),
    }),
    call('PUT /people/{userId}/locked', {
      body: Type.Object({ locked: Type.Boolean() }),
      handle: ({ params, body }) => change(() => port().setLocked(userOf(params), body.locked)),
    }),
    call('DELETE /people/{userId}/devices/{deviceId}', {
      handle: ({ params }) =>
        change(async () => {
          const { deviceId } = params;
          if (!isDeviceId(deviceId)) throw notFound('There is no such device');
          await port().removeDevice(userOf(params), deviceId);
        }),
    }),
  ];
}

function userOf({ userId }: { readonly userId: string }): UserId {
  if (!isUserId(userId)) throw notFound('There is no such user here');
  return userId;
}
