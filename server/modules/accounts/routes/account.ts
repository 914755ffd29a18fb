import { Reply, route, type Route } from '../../../http/route.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { AccountManagement } from '../service/account-management.ts';
import type { PasswordPolicy } from '../service/settings.ts';
import { deactivateBody, passwordBody } from './schemas.ts';

/** What users ask about and do to their own account (spec: "Account management", "Current account information"). */
export function accountRoutes(needs: {
  readonly management: AccountManagement;
  readonly policy: PasswordPolicy;
}): Route[] {
  const { management, policy } = needs;
  return [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/account/whoami',
      auth: 'user',
      guests: true,
      handle: ({ requester }) => ({
        user_id: requester.userId,
        ...(requester.deviceId === undefined ? {} : { device_id: requester.deviceId }),
        is_guest: requester.isGuest,
      }),
    }),
    route({
      method: 'POST',
      path: '/_matrix/client/v3/account/password',
      auth: 'optional',
      body: passwordBody,
      bodyLimit: 65_536,
      handle: async ({ requester, body, ip }) =>
        (await management.changePassword({ requester, body: body as JsonObject, ip })) ?? {},
    }),
    route({
      method: 'POST',
      path: '/_matrix/client/v3/account/deactivate',
      auth: 'optional',
      body: deactivateBody,
      emptyBodyAllowed: true,
      bodyLimit: 65_536,
      handle: async ({ requester, body, ip }) => {
        const done = await management.deactivate({ requester, body: body as JsonObject, ip });
        return done instanceof Reply ? done : { id_server_unbind_result: done ? 'success' : 'no-support' };
      },
    }),
    // NOT-SPEC: MSC2000, which some clients ask before they let a new password be typed.
    route({
      method: 'GET',
      path: '/_matrix/client/v3/password_policy',
      auth: 'none',
      handle: () =>
        policy.enabled
          ? {
              'm.minimum_length': policy.minimumLength,
              'm.require_digit': policy.requireDigit,
              'm.require_symbol': policy.requireSymbol,
              'm.require_lowercase': policy.requireLowercase,
              'm.require_uppercase': policy.requireUppercase,
            }
          : {},
    }),
  ];
}
