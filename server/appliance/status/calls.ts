import { Type } from '../../http/type.ts';
import { call, type ControlCall } from '../control/call.ts';
import type { About } from '../contract.ts';
import type { Keeper } from '../lifecycle/keeper.ts';
import type { StatusBoard } from './board.ts';

/** The calls about the house as a whole. */
export function statusCalls({
  board,
  keeper,
  about,
  wake,
}: {
  readonly board: Pick<StatusBoard, 'read' | 'history'>;
  readonly keeper: Pick<Keeper, 'pause' | 'start' | 'restart'>;
  readonly about: () => About;
  readonly wake: () => void;
}): ControlCall[] {
  return [
    call('GET /status', { handle: () => board.read() }),
    call('GET /history', {
      query: Type.Object({ hours: Type.Integer({ minimum: 1, maximum: 744 }) }),
      handle: ({ query: { hours } }) => board.history(hours),
    }),
    call('POST /server/pause', {
      handle: async () => {
        await keeper.pause();
        return board.read();
      },
    }),
    call('POST /server/resume', {
      handle: async () => {
        await keeper.start();
        return board.read();
      },
    }),
    call('POST /server/restart', {
      handle: async () => {
        await keeper.restart();
        return board.read();
      },
    }),
    call('POST /server/wake', {
      handle: () => {
        wake();
        return board.read();
      },
    }),
    call('GET /about', { handle: about }),
  ];
}
