import assert from 'node:assert/strict';
import { expectError, expectOk } from '../kit/test-client.ts';
import { everything, hears, joinVia, makePair, path, said } from './pair.ts';

const story = makePair(import.meta.filename);

function range(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix} ${index + 1}`);
}

story('somebody who joins late reads two hundred old messages', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  const old = range('long ago', 200);
  const ids: string[] = [];
  for (const body of old) ids.push(await alice.send(roomId, body));
  await joinVia(bob, roomId, home);
  const events = await everything(bob, roomId);
  const bodies = events.filter((event) => event.type === 'm.room.message').map((event) => event.content.body);
  assert.deepEqual(bodies, old);
  assert.equal(events[0]?.type, 'm.room.create');
  // An event from the middle, with what stood around it.
  const context = expectOk(await bob.get(path`/rooms/${roomId}/context/${ids[50] ?? ''}`, { limit: 10 }));
  assert.equal(context.event.content.body, 'long ago 51');
  // Synapse skips the nearest of those before an event it fetched from another server.
  assert.ok(['long ago 50', 'long ago 49'].includes(context.events_before[0].content.body));
  assert.equal(context.events_after[0].content.body, 'long ago 52');
});

story('a moment of the past is found before anything was read of it', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  const ids: string[] = [];
  for (const body of range('word', 60)) ids.push(await alice.send(roomId, body));
  const wanted = ids[10] ?? '';
  const { origin_server_ts: moment } = expectOk(await alice.get(path`/rooms/${roomId}/event/${wanted}`));
  await joinVia(bob, roomId, home);
  const answer = expectOk(
    await bob.get(`/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/timestamp_to_event`, {
      ts: moment,
      dir: 'f',
    }),
  );
  assert.equal(answer.event_id, wanted);
  assert.equal(answer.origin_server_ts, moment);
});

story('what was said before somebody came stays hidden where the room wants it so', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({
    preset: 'public_chat',
    initial_state: [{ type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'joined' } }],
  });
  const secret = await alice.send(roomId, 'a secret');
  await joinVia(bob, roomId, home);
  await alice.send(roomId, 'he is here');
  await hears(bob, roomId, 'he is here');
  const events = await everything(bob, roomId);
  assert.ok(!JSON.stringify(events).includes('a secret'));
  expectError(await bob.get(path`/rooms/${roomId}/event/${secret}`), 404, 'M_NOT_FOUND');
  assert.deepEqual(await said(bob, roomId), ['he is here']);
});

story(
  'a burst of messages, more than go into one transaction, arrives whole and in order',
  async ({ home, away, tag }) => {
    const alice = await home.register(`alice-${tag}`);
    const bob = await away.register(`bob-${tag}`);
    const roomId = await alice.createRoom({ preset: 'public_chat' });
    await joinVia(bob, roomId, home);
    const burst = range('burst', 120);
    for (const body of burst) await alice.send(roomId, body);
    await hears(bob, roomId, 'burst 120');
    const heard = (await everything(bob, roomId)).filter((event) => event.type === 'm.room.message');
    assert.deepEqual(
      heard.map((event) => event.content.body),
      burst,
    );
  },
);
