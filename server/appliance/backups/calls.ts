import { Type } from '../../http/type.ts';
import { call, type ControlCall } from '../control/call.ts';
import { scheduleFields } from './records.ts';
import type { Backups } from './service.ts';

const passphrase = Type.String({ minLength: 1, maxLength: 1_024 });

export function backupCalls(backups: Backups): ControlCall[] {
  return [
    call('GET /backups', { handle: () => backups.list() }),
    call('PUT /backups/schedule', {
      body: Type.Object({
        ...scheduleFields,
        passphrase: Type.Optional(passphrase),
        isChosenAnew: Type.Optional(Type.Boolean()),
      }),
      handle: ({ body }) => {
        backups.setSchedule(body);
        return backups.list();
      },
    }),
    call('POST /backups', {
      body: Type.Object({ passphrase: Type.Optional(passphrase), media: Type.Boolean() }),
      handle: ({ body }) => backups.begin(body),
    }),
    call('DELETE /backups/{name}', {
      handle: async ({ params: { name } }) => {
        await backups.remove(name);
        return {};
      },
    }),
    call('POST /backups/{name}/verify', {
      body: Type.Object({ passphrase }),
      handle: ({ params: { name }, body }) => backups.verify(name, body.passphrase),
    }),
    call('POST /restore', {
      body: Type.Object({ path: Type.String({ minLength: 1, maxLength: 4_096 }), passphrase, replace: Type.Boolean() }),
      handle: ({ body }) => backups.restore(body),
    }),
    call('GET /recovery-sheet', { handle: () => backups.sheet() }),
  ];
}
