import { Type } from '../../http/type.ts';
import { call, type ControlCall } from '../control/call.ts';
import type { SetupDesk } from './setup.ts';

const reach = Type.Union([Type.Literal('home'), Type.Literal('domain'), Type.Literal('proxy')]);
const name = Type.String({ maxLength: 1000 });
const path = Type.Optional(Type.String({ maxLength: 4096 }));
const way = {
  reach,
  publicUrl: Type.Optional(Type.String({ maxLength: 2000 })),
  certificatePath: path,
  privateKeyPath: path,
};
const password = Type.String({ maxLength: 512 });

export function setupCalls(desk: SetupDesk): ControlCall[] {
  return [
    call('GET /setup', { handle: () => desk.get() }),
    call('PUT /setup', {
      body: Type.Object({ ...way, serverName: name, dataDirectory: path }),
      handle: ({ body }) => desk.put(body),
    }),
    call('PUT /reach', { body: Type.Object(way), handle: ({ body }) => desk.changeReach(body) }),
    call('GET /connect', { handle: () => desk.connect() }),
    call('POST /setup/check-name', {
      body: Type.Object({ reach, serverName: name }),
      handle: ({ body }) => desk.checkName(body.reach, body.serverName.trim()),
    }),
    call('POST /setup/check-account', {
      body: Type.Object({ username: name, password: Type.Optional(password) }),
      handle: ({ body }) => ({ problems: desk.checkAccount(body) }),
    }),
    call('POST /setup/finish', {
      body: Type.Object({
        username: name,
        password,
        displayName: Type.Optional(Type.String({ maxLength: 255 })),
      }),
      handle: ({ body }) => desk.finish(body),
    }),
  ];
}
