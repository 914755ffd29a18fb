import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';

export const SLIDING_PATH = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';

export interface SlideOptions {
  readonly pos?: string;
  readonly timeout?: number;
  readonly signal?: AbortSignal;
}

/** One request of simplified sliding sync. */
export async function slide(client: TestClient, body: Json, options: SlideOptions = {}): Promise<Json> {
  const { signal, ...query } = options;
  const answer = await client.request('POST', SLIDING_PATH, {
    query: { timeout: 0, ...query },
    body,
    ...(signal === undefined ? {} : { signal }),
  });
  return expectOk(answer);
}

/** A request for one list of all rooms. */
export function allRooms(list: Json = {}, rest: Json = {}): Json {
  return { lists: { all: { ranges: [[0, 19]], required_state: [], timeline_limit: 10, ...list } }, ...rest };
}

/** What the messages of a room's timeline say, or their types where they say nothing. */
export function said(room: Json): string[] {
  return (room?.timeline ?? []).map((event: Json) => event.content.body ?? event.type);
}

/** The types and state keys of a room's required state, in order. */
export function stateOf(room: Json): string[] {
  return (room?.required_state ?? []).map((event: Json) => `${event.type}/${event.state_key}`).sort();
}
