import type { Module } from '../../module.ts';
import { historyRoutes } from './routes/history.ts';
import { sendRoutes } from './routes/send.ts';
import { stateRoutes } from './routes/state.ts';
import { type History, roomHistory } from './service/history.ts';
import type { RoomEventsNeeds } from './service/needs.ts';
import { sending } from './service/send.ts';

export type { History } from './service/history.ts';
export type {
  CanonicalAliases,
  MemberStateChanges,
  RelationRules,
  RoomEventsNeeds,
  RoomEventsSettings,
} from './service/needs.ts';

/**
 * Sending, redacting and reading the events of rooms (spec: client-server API, "Getting events for a room", "Sending
 * events to a room", "Redactions").
 */
export function roomEvents(needs: RoomEventsNeeds): Module & { readonly history: History } {
  const history = roomHistory(needs);
  return {
    name: 'room-events',
    history,
    routes: [...sendRoutes(sending(needs)), ...stateRoutes(needs), ...historyRoutes(needs, history)],
  };
}
