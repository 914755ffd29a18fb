import { route, type Route } from '../../http/route.ts';
import { jsonObject, userId } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { checkFieldKey } from './service/fields.ts';
import { type Profiles, valueIn } from './service/profiles.ts';

export function profileRoutes(profiles: Profiles): Route[] {
  // The second is what clients know from before fields other than name and picture were in the spec.
  const whole = ['/_matrix/client/v3/profile/:userId', '/_matrix/client/unstable/uk.tcpip.msc4133/profile/:userId'];
  const field = whole.map((path) => `${path}/:keyName`);
  const params = Type.Object({ userId });
  const fieldParams = Type.Object({ userId, keyName: Type.String() });
  return [
    route({
      method: 'GET',
      path: whole,
      auth: 'optional',
      guests: true,
      params,
      handle: ({ requester, params: { userId: whose } }) => profiles.read(requester, whose, undefined),
    }),
    route({
      method: 'GET',
      path: field,
      auth: 'optional',
      guests: true,
      params: fieldParams,
      handle: ({ requester, params: { userId: whose, keyName } }) => {
        checkFieldKey(keyName);
        return profiles.read(requester, whose, keyName);
      },
    }),
    route({
      method: 'PUT',
      path: field,
      auth: 'user',
      guests: true,
      params: fieldParams,
      body: jsonObject,
      handle: ({ requester, params: { userId: whose, keyName }, body }) => {
        checkFieldKey(keyName);
        profiles.change(requester, whose, keyName, valueIn(body, keyName));
        return {};
      },
    }),
    route({
      method: 'DELETE',
      path: field,
      auth: 'user',
      guests: true,
      params: fieldParams,
      handle: ({ requester, params: { userId: whose, keyName } }) => {
        checkFieldKey(keyName);
        profiles.clear(requester, whose, keyName);
        return {};
      },
    }),
  ];
}
