import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { eventually, onNetwork } from '../kit/test-network.ts';
import { listEvents, roomPath, untilAgreed, untilMember, untilSaid } from './room-view.ts';

async function share(roomIds: readonly string[], host: TestClient, guests: readonly TestClient[]): Promise<void> {
  for (const roomId of roomIds) {
    for (const guest of guests) {
      expectOk(await guest.post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}?via=home.test`));
      await untilMember([host, guest], roomId, guest.userId, 'join');
    }
  }
}

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
    assert.deepEqual((await listEvents(bob, roomId)).filter(({ sender, type }) => sender === alice.userId && type === 'm.room.message'), []);

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

test(
  'a message that is redacted is redacted everywhere, even where the redaction comes first',
  onNetwork(['home.test', 'away.test', 'third.test'], async ([home, away, third], network) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const carol = await third.register('carol');
    for (const version of ['6', '11']) {
      const roomId = await alice.createRoom({ preset: 'public_chat', room_version: version });
      await share([roomId], alice, [bob, carol]);
      await untilMember([bob], roomId, carol.userId, 'join');
      const redact = async (who: TestClient, eventId: string, reason: string): Promise<void> => {
        expectOk(await who.put(roomPath(roomId, `redact/${eventId}/${reason}`), { reason }));
      };
      const untilRedacted = async (people: readonly TestClient[], eventId: string, reason: string): Promise<void> => {
        for (const who of people) {
          await eventually(`${who.userId} does not see what was redacted`, async () => {
            const { status, body } = await who.get(roomPath(roomId, `event/${eventId}`));
            return status === 200 && body.unsigned?.redacted_because?.content.reason === reason && body;
          }).then((event) => assert.deepEqual(event.content, {}));
        }
      };

      const slip = await bob.send(roomId, 'A slip');
      await untilSaid([alice, carol], roomId, ['A slip']);
      await redact(bob, slip, 'mine');
      await untilRedacted([alice, bob, carol], slip, 'mine');
      const rude = await bob.send(roomId, 'Something rude');
      await eventually('Alice reads it', async () => (await alice.get(roomPath(roomId, `event/${rude}`))).status === 200);
      await redact(alice, rude, 'house_rules');
      await untilRedacted([alice, bob, carol], rude, 'house_rules');
      // Who has no power over others cannot do that.
      const refused = await carol.put(roomPath(roomId, `redact/${rude}/x`), {});
      assert.equal(refused.status, 403);

      // Carol's server hears of the redaction by Alice first: it cannot hear Bob's.
      network.cut(away, third);
      const secret = await bob.send(roomId, 'The password is 1234');
      await eventually('Alice reads it', async () => (await alice.get(roomPath(roomId, `event/${secret}`))).status === 200);
      await redact(alice, secret, 'too_late');
      await untilRedacted([alice, bob, carol], secret, 'too_late');
      network.mendAll();
      await bob.send(roomId, 'Oh well');
      await untilRedacted([alice, bob, carol], secret, 'too_late');
      for (const who of [alice, bob, carol]) {
        await eventually('Bob is heard', async () => JSON.stringify(await listEvents(who, roomId)).includes('Oh well'));
        assert.ok(!JSON.stringify(await listEvents(who, roomId)).includes('1234'));
      }
      await untilAgreed([alice, bob, carol], roomId);
    }
  }),
);
