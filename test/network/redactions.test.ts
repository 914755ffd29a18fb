import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk, type TestClient } from '../kit/test-client.ts';
import { eventually, onNetwork } from '../kit/test-network.ts';
import { listEvents, roomPath, share, untilAgreed, untilMember, untilSaid } from './room-view.ts';

test(
  'a message that is redacted is redacted everywhere, whoever tells of it first',
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
      await eventually(
        'Alice reads it',
        async () => (await alice.get(roomPath(roomId, `event/${rude}`))).status === 200,
      );
      await redact(alice, rude, 'house_rules');
      await untilRedacted([alice, bob, carol], rude, 'house_rules');
      // Who has no power over others cannot do that.
      const refused = await carol.put(roomPath(roomId, `redact/${rude}/x`), {});
      assert.equal(refused.status, 403);

      // Carol's server hears of the redaction by Alice first: it cannot hear Bob's.
      network.cut(away, third);
      const secret = await bob.send(roomId, 'The password is sesame');
      await eventually(
        'Alice reads it',
        async () => (await alice.get(roomPath(roomId, `event/${secret}`))).status === 200,
      );
      await redact(alice, secret, 'too_late');
      await untilRedacted([alice, bob, carol], secret, 'too_late');
      network.mendAll();
      await bob.send(roomId, 'Oh well');
      await untilRedacted([alice, bob, carol], secret, 'too_late');
      for (const who of [alice, bob, carol]) {
        await eventually('Bob is heard', async () => JSON.stringify(await listEvents(who, roomId)).includes('Oh well'));
        assert.ok(!JSON.stringify(await listEvents(who, roomId)).includes('sesame'));
      }
      await untilAgreed([alice, bob, carol], roomId);
    }
  }),
);

for (const version of ['6', '11']) {
  test(
    `a redaction that comes before what it redacts takes hold when that arrives (room version ${version})`,
    onNetwork(['home.test', 'away.test', 'third.test'], async ([home, away, third], network) => {
      const alice = await home.register('alice');
      const bob = await away.register('bob');
      const carol = await third.register('carol');
      const roomId = await alice.createRoom({ preset: 'public_chat', room_version: version });
      await share([roomId], alice, [bob]);
      const secret = await bob.send(roomId, 'The password is sesame');
      await untilSaid([alice], roomId, ['The password is sesame']);
      await share([roomId], alice, [carol]);
      await untilMember([bob], roomId, carol.userId, 'join');

      // Alice's server does not hear of the redaction, and is the only one that Carol's can ask for the past.
      network.cut(home, away);
      expectOk(await bob.put(roomPath(roomId, `redact/${secret}/r`), { reason: 'A secret' }));
      await bob.send(roomId, 'Forget it');
      await eventually('Carol hears Bob', async () =>
        (await carol.sync({ filter: { room: { timeline: { limit: 1 } } } })).rooms.join[roomId].timeline.events.some(
          ({ content }: { content: { body?: string } }) => content.body === 'Forget it',
        ),
      );
      network.cut(away, third);
      assert.ok(
        JSON.stringify(await listEvents(alice, roomId)).includes('sesame'),
        'Alice’s server gives it as it was',
      );
      const history = await listEvents(carol, roomId);
      const redacted = history.find(({ event_id }) => event_id === secret);
      assert.deepEqual(redacted?.content, {});
      assert.equal(redacted.unsigned.redacted_because.content.reason, 'A secret');
      assert.ok(!JSON.stringify(history).includes('sesame'));
      network.mendAll();
      await carol.send(roomId, 'Forgotten');
      await untilSaid([alice, bob, carol], roomId, ['(redacted)', 'Forget it', 'Forgotten']);
      await untilAgreed([alice, bob, carol], roomId);
    }),
  );
}
