import { checkAuthEvents, authEventKeys } from '../matrix/auth-rules/auth-events.ts';
import { type AuthState, authStateOf } from '../matrix/auth-rules/auth-state.ts';
import { checkAuthRules } from '../matrix/auth-rules/check.ts';
import { type RoomEvent, splitStateKey } from '../matrix/events/event.ts';
import type { EventId } from '../matrix/identifiers.ts';

/** All that the judge looks at. */
export interface Case {
  readonly event: RoomEvent;
  /** The events that `event.authEvents` names, as far as they exist. */
  readonly authEvents: readonly RoomEvent[];
  /** The room's create event, for room versions in which auth events do not list it. */
  readonly create: RoomEvent | undefined;
  readonly isRejected: (id: EventId) => boolean;
  /** Undefined for an outlier: nothing is known but what it rests upon. */
  readonly stateBefore: AuthState | undefined;
  /** The room's current state; undefined where it is the state before the event, or the event is no news. */
  readonly currentState: AuthState | undefined;
}

export type Judgement =
  | { readonly verdict: 'accepted' }
  | { readonly verdict: 'soft-failed' | 'rejected'; readonly reason: string };

/**
 * The judge's verdict on an event whose format, signatures and hashes are right: checks 4 to 6 of "Checks performed on
 * receipt of a PDU" (server-server API). Pure.
 */
export function judge({ event, authEvents, create, isRejected, stateBefore, currentState }: Case): Judgement {
  // 4: by its auth events
  const list = checkAuthEvents(event, authEvents, { isRejected, create });
  if (!list.allowed) return { verdict: 'rejected', reason: list.reason };
  // What auth events and state before agree on need not be checked twice.
  if (stateBefore === undefined || !isSelectedFrom(event, authEvents, stateBefore)) {
    const byAuthEvents = checkAuthRules(
      event,
      authStateOf(create === undefined ? authEvents : [...authEvents, create]),
    );
    if (!byAuthEvents.allowed) return { verdict: 'rejected', reason: byAuthEvents.reason };
  }
  // 5: by the state before it
  if (stateBefore !== undefined) {
    const byState = checkAuthRules(event, stateBefore);
    if (!byState.allowed) return { verdict: 'rejected', reason: byState.reason };
  }
  // 6: by the current state
  if (currentState !== undefined) {
    const byCurrent = checkAuthRules(event, currentState);
    if (!byCurrent.allowed) return { verdict: 'soft-failed', reason: byCurrent.reason };
  }
  return { verdict: 'accepted' };
}

/** Whether the auth events are just those that the state before the event holds for it. */
function isSelectedFrom(event: RoomEvent, authEvents: readonly RoomEvent[], stateBefore: AuthState): boolean {
  let selected = 0;
  for (const key of authEventKeys(event)) {
    const { type, stateKey } = splitStateKey(key);
    const holder = stateBefore.find(type, stateKey);
    if (holder === undefined) continue;
    if (!authEvents.some(({ eventId }) => eventId === holder.eventId)) return false;
    selected += 1;
  }
  return selected === authEvents.length;
}
