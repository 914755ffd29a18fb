import assert from 'node:assert/strict';
import { type Answer, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { eventually } from '../kit/test-network.ts';

/** The path of a room in the client-server API. */
export function roomPath(roomId: string, rest: string): string {
  return `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/${rest}`;
}

/** All events of a room that somebody can page back to, oldest first. None comes twice. */
export async function listEvents(who: TestClient, roomId: string, pageSize = 100): Promise<Json[]> {
  const events: Json[] = [];
  let from: string | undefined;
  do {
    const page = expectOk(await who.get(roomPath(roomId, 'messages'), { dir: 'b', limit: pageSize, from }));
    assert.notEqual(page.end, from ?? '', 'paging goes on');
    events.push(...page.chunk);
    from = page.end;
  } while (from !== undefined);
  assert.equal(new Set(events.map(({ event_id }) => event_id)).size, events.length, 'no event is there twice');
  return events.reverse();
}

/** What was said in a room, oldest first. */
export async function listSaid(who: TestClient, roomId: string): Promise<string[]> {
  const events = await listEvents(who, roomId);
  return events.filter(({ type }) => type === 'm.room.message').map(({ content }) => content.body ?? '(redacted)');
}

/** The IDs of a room's state events by what they are about, in one order. */
export async function stateIds(who: TestClient, roomId: string): Promise<Record<string, string>> {
  const state: Json[] = expectOk(await who.get(roomPath(roomId, 'state')));
  return Object.fromEntries(
    state
      .map(({ type, state_key, event_id }) => [`${type} ${state_key}`, event_id])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

export function getState(who: TestClient, roomId: string, type: string, stateKey = ''): Promise<Answer> {
  return who.get(roomPath(roomId, `state/${encodeURIComponent(type)}/${encodeURIComponent(stateKey)}`));
}

/** The membership of somebody as `who` sees it. */
export async function membershipOf(who: TestClient, roomId: string, userId: string): Promise<string | undefined> {
  const { status, body } = await getState(who, roomId, 'm.room.member', userId);
  return status === 200 ? body.membership : undefined;
}

/** Waits until all of them see somebody with this membership. */
export async function untilMember(
  watchers: readonly TestClient[],
  roomId: string,
  userId: string,
  membership: string,
): Promise<void> {
  for (const watcher of watchers) {
    await eventually(
      `${watcher.userId} sees that the membership of ${userId} is ${membership}`,
      async () => (await membershipOf(watcher, roomId, userId)) === membership,
    );
  }
}

/** Waits until all of them read what was said, in whatever order (the same for all who stay), and nothing more. */
export async function untilSaid(
  readers: readonly TestClient[],
  roomId: string,
  said: readonly string[],
): Promise<void> {
  const expected = [...said].sort();
  for (const reader of readers) {
    let read: string[] = [];
    await eventually(`${reader.userId} reads ${said.length} messages`, async () => {
      read = (await listSaid(reader, roomId)).sort();
      return expected.every((body) => read.includes(body));
    }).catch((error: unknown) => {
      assert.deepEqual(read, expected, String(error));
    });
    assert.deepEqual(read, expected, `what ${reader.userId} reads`);
  }
}

/** Waits until the room's state is the same for all of them, event for event, and gives it. */
export async function untilAgreed(
  people: readonly [TestClient, ...TestClient[]],
  roomId: string,
): Promise<Record<string, string>> {
  let states: Record<string, string>[] = [];
  const [first, ...others] = people;
  try {
    return await eventually('all agree about the state of the room', async () => {
      const mine = await stateIds(first, roomId);
      states = [mine];
      for (const other of others) states.push(await stateIds(other, roomId));
      return states.every((state) => JSON.stringify(state) === JSON.stringify(mine)) && mine;
    });
  } catch (error) {
    for (const [index, state] of states.entries()) assert.deepEqual(state, states[0], people[index]?.userId);
    throw error;
  }
}

/** What somebody is invited to: the stripped state by type. Waits for it. */
export async function untilInvited(who: TestClient, roomId: string): Promise<Record<string, Json>> {
  return await eventually(`${who.userId} is invited`, async () => {
    const { rooms } = await who.sync();
    const events: Json[] | undefined = rooms?.invite?.[roomId]?.invite_state?.events;
    return events && Object.fromEntries(events.map((event) => [event.type, event]));
  });
}

/** The guests join rooms of a host's on home.test; all of them see it. */
export async function share(
  roomIds: readonly string[],
  host: TestClient,
  guests: readonly TestClient[],
): Promise<void> {
  for (const roomId of roomIds) {
    for (const guest of guests) {
      expectOk(await guest.post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=home.test`));
      await untilMember([host, guest], roomId, guest.userId, 'join');
    }
  }
}
