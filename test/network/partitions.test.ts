import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../kit/test-client.ts';
import { onNetwork } from '../kit/test-network.ts';
import { listEvents, share, untilAgreed, untilMember, untilSaid } from './room-view.ts';

function range(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix} ${index}`);
}

test(
  'a server that was off while five hundred things happened in five rooms has all of them in the end, each once',
  onNetwork(['home.test', 'away.test'], async ([home, away], network) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const rooms: string[] = [];
    for (let index = 0; index < 5; index += 1) rooms.push(await alice.createRoom({ preset: 'public_chat' }));
    await share(rooms, alice, [bob]);
    const { next_batch: since } = await bob.sync();
    await away.end();

    const said = range('while you were away', 98);
    await Promise.all(
      rooms.map(async (roomId, index) => {
        for (const body of said) await alice.send(roomId, body);
        await alice.setState(roomId, 'm.room.topic', { topic: `Topic ${index}` });
        await alice.setState(roomId, 'm.room.name', { name: `Name ${index}` });
      }),
    );
    await away.begin();
    network.mendAll();

    for (const roomId of rooms) {
      await alice.send(roomId, 'There you are');
      await untilSaid([bob], roomId, [...said, 'There you are']);
      await untilAgreed([alice, bob], roomId);
      const [hers, his] = [await listEvents(alice, roomId), await listEvents(bob, roomId)];
      assert.deepEqual(
        his.map(({ event_id }) => event_id),
        hers.map(({ event_id }) => event_id),
        'in the same order',
      );
    }
    // A client that comes back learns of every room, with what was said last at the end.
    const news = await bob.sync({ since });
    for (const [index, roomId] of rooms.entries()) {
      const { timeline, state }: Json = news.rooms.join[roomId];
      assert.equal(timeline.events.at(-1).content.body, 'There you are');
      const told = [...state.events, ...timeline.events];
      assert.equal(told.findLast(({ type }: Json) => type === 'm.room.topic').content.topic, `Topic ${index}`);
    }
  }),
);

test(
  'two servers that could not hear each other tell each other everything afterwards',
  onNetwork(['home.test', 'away.test'], async ([home, away], network) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const roomId = await alice.createRoom({ preset: 'public_chat' });
    await share([roomId], alice, [bob]);
    network.cut(home, away);
    const hers = range('alice', 60);
    const his = range('bob', 60);
    await Promise.all([
      (async () => {
        for (const body of hers) await alice.send(roomId, body);
      })(),
      (async () => {
        for (const body of his) await bob.send(roomId, body);
      })(),
    ]);
    network.mendAll();
    await untilSaid([alice, bob], roomId, [...hers, ...his]);
    // In the order each said theirs, on both servers.
    for (const who of [alice, bob]) {
      const bodies = (await listEvents(who, roomId)).map(({ content }) => String(content.body ?? ''));
      assert.deepEqual(
        bodies.filter((body) => body.startsWith('alice')),
        hers,
      );
      assert.deepEqual(
        bodies.filter((body) => body.startsWith('bob')),
        his,
      );
    }
    await alice.send(roomId, 'One again');
    await untilSaid([alice, bob], roomId, [...hers, ...his, 'One again']);
    await untilAgreed([alice, bob], roomId);
  }),
);

test(
  'what two servers cannot tell each other a third one passes on',
  onNetwork(['home.test', 'away.test', 'third.test'], async ([home, away, third], network) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const carol = await third.register('carol');
    const roomId = await alice.createRoom({ preset: 'public_chat' });
    await share([roomId], alice, [bob, carol]);
    await untilMember([bob], roomId, carol.userId, 'join');
    network.cut(home, away);
    const hers = range('alice', 15);
    for (const body of hers) await alice.send(roomId, body);
    await alice.setState(roomId, 'm.room.topic', { topic: 'Over the hedge' });
    await untilSaid([carol], roomId, hers);
    assert.deepEqual(
      (await listEvents(bob, roomId)).filter(
        ({ sender, type }) => sender === alice.userId && type === 'm.room.message',
      ),
      [],
    );

    // What Carol says follows what Alice said: Bob's server asks hers for it.
    await carol.send(roomId, 'Did you hear that?');
    await untilSaid([bob], roomId, [...hers, 'Did you hear that?']);
    await untilAgreed([alice, bob, carol], roomId);
    await bob.send(roomId, 'Every word');
    network.mendAll();
    await untilSaid([alice, carol], roomId, [...hers, 'Did you hear that?', 'Every word']);
    await untilAgreed([alice, bob, carol], roomId);
  }),
);
