import type { ServerName, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { IssuedTokens } from '../service/tokens.ts';

/** The tokens of an answer, as clients know them. */
export function tokenFields(session: IssuedTokens): JsonObject {
  return {
    access_token: session.accessToken,
    ...(session.refreshToken === undefined ? {} : { refresh_token: session.refreshToken }),
    ...(session.expiresInMs === undefined ? {} : { expires_in_ms: session.expiresInMs }),
  };
}

/** What a client hears after registering or logging in. `home_server` is for clients older than the spec's versions. */
export function sessionAnswer(userId: UserId, serverName: ServerName, session: IssuedTokens | undefined): JsonObject {
  return {
    user_id: userId,
    home_server: serverName,
    ...(session === undefined ? {} : { device_id: session.deviceId, ...tokenFields(session) }),
  };
}
