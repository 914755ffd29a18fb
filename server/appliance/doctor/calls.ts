import { Type } from '../../http/type.ts';
import { call, type ControlCall } from '../control/call.ts';
import type { Doctor } from './doctor.ts';

export function doctorCalls(needs: {
  readonly doctor: Doctor;
  /** The name our own server has now. Throws a MatrixError. */
  readonly ownName: () => string;
}): ControlCall[] {
  const { doctor, ownName } = needs;
  return [
    call('POST /doctor', {
      body: Type.Object({ serverName: Type.Optional(Type.String({ minLength: 1, maxLength: 300 })) }),
      handle: ({ body }) => ({ jobId: doctor.start(body.serverName).id }),
    }),
    call('GET /doctor', {
      handle: () => {
        const last = doctor.last(ownName());
        const { latest } = doctor;
        return { ...(last === undefined ? {} : { last }), ...(latest === undefined ? {} : { latest }) };
      },
    }),
  ];
}
