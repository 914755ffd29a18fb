import type { Requester, Route } from '../http/route.ts';
import { route } from '../http/route.ts';
import { Type } from '../http/type.ts';
import type { JsonObject } from '../matrix/json.ts';
import { STREAM_START, type StreamPosition } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import { type AssembleNeeds, assemble } from './assemble.ts';
import type { SyncFilter } from './filter.ts';
import type { Filters } from './filter-routes.ts';
import { Deadline, type Notifier } from './notifier.ts';
import type { StateSection } from './room-sections.ts';
import type { SyncTokens } from './token.ts';
import { computeWindow, type WindowNeeds } from './window.ts';

/** Who keeps presence hears from here that a user's client is there. */
export interface SyncPresence {
  /**
   * A device asks for news, and wants to count as `asked` (undefined: online, without anybody having done something).
   * Returns what is called when the request is over.
   */
  beginSync(requester: Requester, asked: 'online' | 'unavailable' | 'offline' | undefined): () => void;
}

/** Does the work of a request for news, during which the device is there. */
export async function whilePresent<Result>(
  presence: SyncPresence | undefined,
  requester: Requester,
  asked: 'online' | 'unavailable' | 'offline' | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  const end = presence?.beginSync(requester, asked);
  try {
    return await work();
  } finally {
    end?.();
  }
}

export interface SyncRouteNeeds {
  readonly clock: Clock;
  readonly windows: WindowNeeds;
  readonly answers: AssembleNeeds;
  readonly filters: Pick<Filters, 'resolve'>;
  readonly tokens: SyncTokens;
  readonly notifier: Notifier;
  readonly presence: SyncPresence | undefined;
}

const syncQuery = Type.Object({
  filter: Type.Optional(Type.String()),
  since: Type.Optional(Type.String()),
  full_state: Type.Optional(Type.Boolean()),
  set_presence: Type.Optional(
    Type.Union([Type.Literal('offline'), Type.Literal('online'), Type.Literal('unavailable')]),
  ),
  timeout: Type.Optional(Type.Integer({ minimum: 0 })),
  use_state_after: Type.Optional(Type.Boolean()),
  'org.matrix.msc4222.use_state_after': Type.Optional(Type.Boolean()),
});

/** GET /sync (spec: client-server API, "Syncing"). */
export function syncRoute(needs: SyncRouteNeeds): Route {
  const initialAnswers = new Map<string, Promise<JsonObject>>();

  return route({
    method: 'GET',
    path: '/_matrix/client/v3/sync',
    auth: 'user',
    guests: true,
    query: syncQuery,
    handle: ({ requester, query, signal }) => {
      const held = query.since === undefined ? STREAM_START : needs.tokens.parse(query.since);
      const since = needs.tokens.lastKnown(held);
      const filter = needs.filters.resolve(requester.userId, query.filter);
      const stateSection = sectionFor(query.use_state_after, query['org.matrix.msc4222.use_state_after']);
      // What the client saw in a time that is lost is not told by any change: it gets the whole state once.
      const fullState = query.full_state === true || since !== held;
      const request = { requester, held, since, filter, fullState, stateSection };
      // A token may be of the very start, if nothing had ever happened here: its bearer waits like any other.
      return whilePresent(needs.presence, requester, query.set_presence, () => {
        if (query.since !== undefined) return longPoll(needs, request, query.timeout ?? 0, signal);
        // A client that gives up on a slow first answer asks again, and again: the work is done once.
        return shareInFlight(
          initialAnswers,
          JSON.stringify([requester.userId, requester.deviceId, query.filter, stateSection]),
          async () => (await assemble(needs.answers, computeWindow(needs.windows, request), stateSection)).body,
        );
      });
    },
  });
}

interface SyncRequest {
  readonly requester: Requester;
  /** The client has what came with this position; it differs from `since` where that was in a time that is lost. */
  readonly held: StreamPosition;
  readonly since: StreamPosition;
  readonly filter: SyncFilter;
  readonly fullState: boolean;
  readonly stateSection: StateSection;
}

async function longPoll(
  needs: SyncRouteNeeds,
  request: SyncRequest,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<JsonObject> {
  const deadline = new Deadline(needs.clock, timeoutMs);
  let acknowledged = false;
  let keyCounts: string | undefined;
  for (;;) {
    const window = computeWindow(needs.windows, request);
    if (!acknowledged) {
      // The client came back with this token, so it has what that answer held.
      const held =
        request.held === request.since ? window : computeWindow(needs.windows, { ...request, since: request.held });
      for (const contribution of needs.answers.contributions()) contribution.acknowledge?.(held);
      acknowledged = true;
    }
    const answer = await assemble(needs.answers, window, request.stateSection);
    keyCounts ??= answer.keyCounts;
    const news = !answer.empty || keyCounts !== answer.keyCounts || request.fullState;
    if (news || deadline.remaining() === 0) return answer.body;
    const interest = { keys: waitKeys(request.requester), rooms: window.allJoined };
    const woken = await needs.notifier.wait(interest, window.now, deadline, signal);
    if (woken !== 'changed') return answer.body;
  }
}

/** The keys, besides those of rooms, that wake a request of this device. */
export function waitKeys({ userId, deviceId }: Pick<Requester, 'userId' | 'deviceId'>): string[] {
  return deviceId === undefined ? [`user:${userId}`] : [`user:${userId}`, `device:${userId}/${deviceId}`];
}

function sectionFor(stable: boolean | undefined, unstable: boolean | undefined): StateSection {
  if (stable === true) return 'state_after';
  return unstable === true ? 'org.matrix.msc4222.state_after' : 'state';
}

function shareInFlight<Result>(
  inFlight: Map<string, Promise<Result>>,
  key: string,
  work: () => Promise<Result>,
): Promise<Result> {
  const known = inFlight.get(key);
  if (known !== undefined) return known;
  const made = work().finally(() => inFlight.delete(key));
  inFlight.set(key, made);
  return made;
}
