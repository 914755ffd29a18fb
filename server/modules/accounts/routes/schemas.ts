import { deviceId, jsonObject, text } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';

/** What `POST /register` and `POST /login` have in common. */
const session = {
  device_id: Type.Optional(deviceId),
  initial_device_display_name: Type.Optional(text(4096)),
  refresh_token: Type.Optional(Type.Boolean()),
};

export const registerBody = Type.Object({
  ...session,
  type: Type.Optional(Type.String()),
  username: Type.Optional(Type.String()),
  password: Type.Optional(Type.String()),
  inhibit_login: Type.Optional(Type.Boolean()),
  guest_access_token: Type.Optional(Type.String()),
});

export const guestBody = Type.Object({ initial_device_display_name: Type.Optional(text(4096)) });

export const loginBody = Type.Object({
  ...session,
  type: Type.String(),
  token: Type.Optional(Type.String()),
  identifier: Type.Optional(jsonObject),
});

export const refreshBody = Type.Object({ refresh_token: Type.String() });

// `auth` is not described here: interactive authentication reads it itself.
export const passwordBody = Type.Object({
  new_password: Type.Optional(Type.String()),
  logout_devices: Type.Optional(Type.Boolean()),
});

export const deactivateBody = Type.Object({
  erase: Type.Optional(Type.Boolean()),
  id_server: Type.Optional(Type.String()),
});

export const sharedSecretBody = Type.Object({
  nonce: Type.String(),
  username: Type.String(),
  password: Type.String(),
  mac: Type.String(),
  admin: Type.Optional(Type.Boolean()),
  user_type: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  displayname: Type.Optional(text(256)),
  inhibit_login: Type.Optional(Type.Boolean()),
});

export const setupBody = Type.Object({ token: Type.String(), username: Type.String(), password: Type.String() });
