import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { eventually, onNetwork } from '../kit/test-network.ts';
import { getState, roomPath, untilMember, untilSaid } from './room-view.ts';

const TWO = ['home.test', 'away.test'] as const;

async function meet(alice: TestClient, bob: TestClient, options: Json = {}): Promise<string> {
  const roomId = await alice.createRoom({ preset: 'public_chat', ...options });
  expectOk(await bob.post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=home.test`));
  await untilMember([alice, bob], roomId, bob.userId, 'join');
  return roomId;
}

/** The last ephemeral event of a type in a room since a token; waits until `isIt`. */
async function untilEphemeral(
  who: TestClient,
  roomId: string,
  type: string,
  isIt: (content: Json) => boolean | undefined,
): Promise<void> {
  let since: string | undefined;
  await eventually(`${who.userId} is told of ${type}`, async () => {
    const answer = await who.sync(since === undefined ? {} : { since });
    since = answer.next_batch;
    const events: Json[] = answer.rooms?.join?.[roomId]?.ephemeral.events ?? [];
    return events.some((event) => event.type === type && isIt(event.content) === true);
  });
}

test(
  'typing is seen on the other server until it ends',
  onNetwork(TWO, async ([home, away]) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const roomId = await meet(alice, bob);
    const type = async (who: TestClient, typing: boolean): Promise<void> => {
      const path = roomPath(roomId, `typing/${encodeURIComponent(who.userId)}`);
      expectOk(await who.put(path, typing ? { typing, timeout: 30_000 } : { typing }));
    };
    await type(bob, true);
    await untilEphemeral(alice, roomId, 'm.typing', ({ user_ids }) => user_ids.includes(bob.userId));
    await type(alice, true);
    await untilEphemeral(bob, roomId, 'm.typing', ({ user_ids }) => user_ids.includes(alice.userId));
    await type(bob, false);
    await untilEphemeral(alice, roomId, 'm.typing', ({ user_ids }) => !user_ids.includes(bob.userId));
    // Who leaves does not type any more.
    await type(bob, true);
    await untilEphemeral(alice, roomId, 'm.typing', ({ user_ids }) => user_ids.includes(bob.userId));
    await bob.leave(roomId);
    await untilMember([alice], roomId, bob.userId, 'leave');
    await untilEphemeral(alice, roomId, 'm.typing', ({ user_ids }) => !user_ids.includes(bob.userId));
  }),
);

test(
  'what somebody has read is seen on the other server, in threads too, and what they keep to themselves is not',
  onNetwork(TWO, async ([home, away]) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const roomId = await meet(alice, bob);
    const first = await alice.send(roomId, 'One');
    const inThread = await alice.send(roomId, {
      msgtype: 'm.text',
      body: 'Two',
      'm.relates_to': { rel_type: 'm.thread', event_id: first },
    });
    const secret = await alice.send(roomId, 'Three');
    await untilSaid([bob], roomId, ['One', 'Two', 'Three']);
    const read = async (type: string, eventId: string, body: Json = {}): Promise<void> => {
      expectOk(await bob.post(roomPath(roomId, `receipt/${type}/${encodeURIComponent(eventId)}`), body));
    };
    const threads: (string | undefined)[] = [];
    await read('m.read', first, { thread_id: 'main' });
    await untilEphemeral(alice, roomId, 'm.receipt', (content) => {
      const receipt = content[first]?.['m.read']?.[bob.userId];
      if (receipt !== undefined) threads.push(receipt.thread_id);
      return receipt !== undefined && typeof receipt.ts === 'number';
    });
    assert.equal(threads.at(-1), 'main');
    await read('m.read.private', secret);
    await read('m.read', inThread, { thread_id: first });
    const all: Json[] = [];
    await untilEphemeral(alice, roomId, 'm.receipt', (content) => {
      all.push(content);
      return content[inThread]?.['m.read']?.[bob.userId]?.thread_id === first;
    });
    assert.ok(!JSON.stringify(all).includes(secret), 'private receipts stay at home');
    // Both stay: one is of the thread, the other of the rest.
    await untilEphemeral(
      alice,
      roomId,
      'm.receipt',
      (content) => content[first]?.['m.read']?.[bob.userId]?.thread_id === 'main',
    );
  }),
);

test(
  'people who share a room see whether the other is there',
  onNetwork(TWO, async ([home, away]) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const stranger = await away.register('stranger');
    await meet(alice, bob);
    const path = (who: TestClient): string => `/_matrix/client/v3/presence/${encodeURIComponent(who.userId)}/status`;
    expectOk(await bob.put(path(bob), { presence: 'unavailable', status_msg: 'At lunch' }));
    let since: string | undefined;
    await eventually('Alice hears of Bob’s lunch', async () => {
      const answer = await alice.sync(since === undefined ? {} : { since });
      since = answer.next_batch;
      return (answer.presence?.events ?? []).some(
        ({ sender, content }: Json) => sender === bob.userId && content.status_msg === 'At lunch',
      );
    });
    const status = expectOk(await alice.get(path(bob)));
    assert.equal(status.presence, 'unavailable');
    assert.equal(status.status_msg, 'At lunch');
    expectOk(await bob.put(path(bob), { presence: 'online' }));
    await eventually('Bob is back', async () => (await alice.get(path(bob))).body.presence === 'online');
    expectError(await alice.get(path(stranger)), 403, 'M_FORBIDDEN');
  }),
);

test(
  'profiles, aliases and published rooms of another server can be looked up while it is there',
  onNetwork(TWO, async ([home, away], network) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const profile = (who: TestClient, rest = ''): string =>
      `/_matrix/client/v3/profile/${encodeURIComponent(who.userId)}${rest}`;
    expectOk(await alice.put(profile(alice, '/displayname'), { displayname: 'Alice of Home' }));
    expectOk(await alice.put(profile(alice, '/avatar_url'), { avatar_url: 'mxc://home.test/face' }));
    const seen = expectOk(await bob.get(profile(alice)));
    assert.equal(seen.displayname, 'Alice of Home');
    assert.equal(seen.avatar_url, 'mxc://home.test/face');
    assert.deepEqual(expectOk(await bob.get(profile(alice, '/displayname'))), { displayname: 'Alice of Home' });
    expectError(await bob.get('/_matrix/client/v3/profile/%40nobody%3Ahome.test'), 404, 'M_NOT_FOUND');

    const garden = await alice.createRoom({
      preset: 'public_chat',
      visibility: 'public',
      name: 'Garden',
      topic: 'Roses',
      room_alias_name: 'garden',
    });
    const cellar = await alice.createRoom({ preset: 'private_chat', name: 'Cellar', room_alias_name: 'cellar' });
    const alias = (name: string): string =>
      `/_matrix/client/v3/directory/room/${encodeURIComponent(`#${name}:home.test`)}`;
    assert.deepEqual(expectOk(await bob.get(alias('garden'))), { room_id: garden, servers: ['home.test'] });
    assert.equal(expectOk(await bob.get(alias('cellar'))).room_id, cellar);
    expectError(await bob.get(alias('attic')), 404, 'M_NOT_FOUND');

    const listed = expectOk(await bob.get('/_matrix/client/v3/publicRooms', { server: 'home.test' }));
    assert.deepEqual(
      listed.chunk.map(({ room_id, name, topic, num_joined_members }: Json) => ({
        room_id,
        name,
        topic,
        num_joined_members,
      })),
      [{ room_id: garden, name: 'Garden', topic: 'Roses', num_joined_members: 1 }],
    );
    const search = async (term: string): Promise<Json[]> => {
      const path = '/_matrix/client/v3/publicRooms?server=home.test';
      return expectOk(await bob.post(path, { filter: { generic_search_term: term } })).chunk;
    };
    assert.equal((await search('rose')).length, 1);
    assert.equal((await search('cellar')).length, 0);

    // A new name is told to the rooms that somebody is in, on both servers.
    const roomId = await meet(alice, bob);
    expectOk(await bob.put(profile(bob, '/displayname'), { displayname: 'Bob of Away' }));
    await eventually(
      'Alice sees his name',
      async () => (await getState(alice, roomId, 'm.room.member', bob.userId)).body.displayname === 'Bob of Away',
    );

    network.cut(home, away);
    const gone = await bob.get('/_matrix/client/v3/publicRooms', { server: 'home.test' });
    assert.ok(gone.status >= 400 && gone.status < 600 && gone.status !== 500, `status ${gone.status}`);
    // That it cannot be asked does not say that there is no such thing.
    assert.equal((await bob.get(alias('attic'))).status, 502);
  }),
);
