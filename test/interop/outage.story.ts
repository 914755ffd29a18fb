import assert from 'node:assert/strict';
import { expectOk } from '../kit/test-client.ts';
import { eventually } from '../kit/test-network.ts';
import { agree, everything, hears, joinVia, makePair, now, path, seesMembership } from './pair.ts';

const story = makePair(import.meta.filename);

story('what happened while a server was down reaches it when it is back', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const rooms: string[] = [];
  for (let index = 0; index < 3; index += 1) {
    const roomId = await alice.createRoom({ preset: 'public_chat', name: `Room ${index}` });
    await joinVia(bob, roomId, home);
    await seesMembership(alice, roomId, bob.userId, 'join');
    rooms.push(roomId);
  }
  const since = await now(bob);
  await away.stop();
  const words = Array.from({ length: 80 }, (_, index) => `while you were out ${index + 1}`);
  for (const body of words) await alice.send(rooms[0] ?? '', body);
  for (const roomId of rooms.slice(1))
    await alice.setState(roomId, 'm.room.topic', { topic: 'set while you were out' });
  const messages = { [bob.userId]: { '*': { note: 'left at the door' } } };
  expectOk(await alice.put(path`/sendToDevice/org.hearth.note/t`, { messages }));
  await away.begin();
  for (const roomId of rooms.slice(1)) {
    await eventually(
      'the topic',
      async () => (await agree([alice, bob], roomId, 'm.room.topic'))?.topic === 'set while you were out',
      60_000,
    );
  }
  await eventually('the last word', async () => {
    const { chunk } = expectOk(await bob.get(path`/rooms/${rooms[0] ?? ''}/messages`, { dir: 'b', limit: 1 }));
    return chunk[0]?.content.body === words.at(-1);
  });
  const heard = (await everything(bob, rooms[0] ?? '')).filter((event) => event.type === 'm.room.message');
  assert.deepEqual(
    heard.map((event) => event.content.body),
    words,
  );
  await eventually('the note at the door', async () => {
    const answer = await bob.sync({ since });
    return (answer.to_device?.events ?? []).some(
      (event: { content: { note?: string } }) => event.content.note === 'left at the door',
    );
  });
});

story('two servers that did not hear of one another for a while agree again', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({
    preset: 'public_chat',
    power_level_content_override: { events: { 'm.room.topic': 0 } },
  });
  await joinVia(bob, roomId, home);
  await seesMembership(alice, roomId, bob.userId, 'join');
  await away.stop();
  for (let index = 1; index <= 15; index += 1) await alice.send(roomId, `alice alone ${index}`);
  await alice.setState(roomId, 'm.room.topic', { topic: 'Alice’s' });
  await home.stop();
  await away.begin();
  for (let index = 1; index <= 15; index += 1) await bob.send(roomId, `bob alone ${index}`);
  await bob.setState(roomId, 'm.room.topic', { topic: 'Bob’s' });
  await home.begin();
  await Promise.all([alice.send(roomId, 'alice is here'), bob.send(roomId, 'bob is here')]);
  for (const who of [alice, bob]) for (const name of ['alice', 'bob']) await hears(who, roomId, `${name} is here`);
  assert.ok(await agree([alice, bob], roomId, 'm.room.topic'));
  for (const who of [alice, bob]) {
    await eventually('every word of both', async () => {
      const bodies = new Set((await everything(who, roomId)).map((event) => event.content.body));
      return ['alice', 'bob'].every((name) =>
        Array.from({ length: 15 }, (_, i) => bodies.has(`${name} alone ${i + 1}`)).every(Boolean),
      );
    });
  }
});
