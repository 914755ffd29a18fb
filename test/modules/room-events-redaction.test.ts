import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk } from '../kit/test-client.ts';
import { inRoom, join, leave, roomsHouse } from './room-events-harness.ts';

test('a redaction empties the message and says why, in every room version and by either way', async (t) => {
  const house = await roomsHouse(t);
  const alice = house.person('alice');
  for (const version of ['1', '6', '10', '11', '12']) {
    const roomId = await alice.createRoom({ room_version: version });
    const redactions: string[] = [];
    for (const way of ['redact', 'send']) {
      const said = await alice.send(roomId, 'oh dear');
      const answer =
        way === 'redact'
          ? await alice.put(inRoom(roomId, 'redact', said, `r${version}`), { reason: 'a slip' })
          : await alice.put(inRoom(roomId, 'send', 'm.room.redaction', `s${version}`), {
              redacts: said,
              reason: 'a slip',
            });
      const redactionId = expectOk(answer).event_id;
      redactions.push(redactionId);
      const gone = expectOk(await alice.get(inRoom(roomId, 'event', said)));
      assert.deepEqual(gone.content, {}, `version ${version}, ${way}`);
      assert.equal(gone.unsigned.redacted_because.event_id, redactionId);
      const shown = expectOk(await alice.get(inRoom(roomId, 'event', redactionId)));
      // Clients of every age find the target where they look for it.
      assert.deepEqual(
        [shown.redacts, shown.content.redacts, shown.content.reason],
        [said, said, 'a slip'],
        `version ${version}, ${way}`,
      );
    }
    assert.equal(new Set(redactions).size, 2);
  }
});

test('a redaction sent again with the same transaction is there once', async (t) => {
  const house = await roomsHouse(t);
  const alice = house.person('alice');
  const roomId = await alice.createRoom();
  const said = await alice.send(roomId, 'oh dear');
  const redact = async (): Promise<string> =>
    expectOk(await alice.put(inRoom(roomId, 'redact', said, 'once'))).event_id;
  assert.equal(await redact(), await redact());
});

test('only moderators redact what others have said', async (t) => {
  const house = await roomsHouse(t);
  const [alice, bob, carol] = [house.person('alice'), house.person('bob'), house.person('carol')];
  const roomId = await alice.createRoom();
  await join(bob, roomId);
  const [hers, his] = [await alice.send(roomId, 'hers'), await bob.send(roomId, 'his')];
  expectError(await bob.put(inRoom(roomId, 'redact', hers, '1'), {}), 403, 'M_FORBIDDEN');
  expectError(await bob.put(inRoom(roomId, 'send', 'm.room.redaction', '1'), { redacts: hers }), 403, 'M_FORBIDDEN');
  expectError(await carol.put(inRoom(roomId, 'redact', hers, '1'), {}), 403, 'M_FORBIDDEN');
  expectOk(await alice.put(inRoom(roomId, 'redact', his, '1'), {}));
  assert.equal(expectOk(await alice.get(inRoom(roomId, 'event', hers))).content.body, 'hers');
});

test('what cannot be redacted is refused', async (t) => {
  const house = await roomsHouse(t);
  const alice = house.person('alice');
  const [roomId, other] = [await alice.createRoom(), await alice.createRoom()];
  const elsewhere = await alice.send(other, 'elsewhere');
  const redact = (target: string, body: unknown = {}) => alice.put(inRoom(roomId, 'redact', target, target), body);
  expectError(await redact(elsewhere), 400, 'M_UNKNOWN');
  expectError(await redact('$nothing'), 404, 'M_NOT_FOUND');
  expectError(await redact('nonsense'), 400, 'M_INVALID_PARAM');
  const said = await alice.send(roomId, 'here');
  expectError(await redact(said, { reason: 5 }), 400, 'M_BAD_JSON');
  expectError(await alice.put(inRoom(roomId, 'send', 'm.room.redaction', 'x'), {}), 400, 'M_BAD_JSON');
  const acl = await alice.setState(roomId, 'm.room.server_acl', { allow: ['*'] });
  expectError(await redact(acl), 403, 'M_FORBIDDEN');
  const create = expectOk(await alice.get(inRoom(roomId, 'state', 'm.room.create'), { format: 'event' }));
  expectError(await redact(create.event_id), 403, 'M_FORBIDDEN');
});

test('redacting a redaction takes its reason away, and not its effect', async (t) => {
  const house = await roomsHouse(t);
  const alice = house.person('alice');
  const roomId = await alice.createRoom();
  const said = await alice.send(roomId, 'oh dear');
  const first = expectOk(await alice.put(inRoom(roomId, 'redact', said, '1'), { reason: 'a bad pun' })).event_id;
  expectOk(await alice.put(inRoom(roomId, 'redact', first, '2'), {}));
  const redaction = expectOk(await alice.get(inRoom(roomId, 'event', first)));
  assert.equal(redaction.content.reason, undefined);
  assert.deepEqual(expectOk(await alice.get(inRoom(roomId, 'event', said))).content, {});
});

test('a message that is to go at a certain time goes then, and not before', async (t) => {
  const house = await roomsHouse(t);
  const [alice, bob] = [house.person('alice'), house.person('bob')];
  const roomId = await alice.createRoom();
  await join(bob, roomId);
  const brief = (body: string, after: unknown): object => ({
    msgtype: 'm.text',
    body,
    'org.matrix.self_destruct_after': after,
  });
  const later = await alice.send(roomId, brief('later', house.clock.now() + 200_000));
  const soon = await alice.send(roomId, brief('soon', house.clock.now() + 1_000));
  const gone = await bob.send(roomId, brief('said by one who left', house.clock.now() + 1_000));
  const stays = await alice.send(roomId, brief('never', 'soon'));
  await leave(bob, roomId);
  const bodyOf = async (eventId: string): Promise<unknown> =>
    expectOk(await alice.get(inRoom(roomId, 'event', eventId))).content.body;
  await house.clock.advance(999);
  assert.equal(await bodyOf(soon), 'soon');
  await house.clock.advance(1);
  assert.equal(await bodyOf(soon), undefined);
  assert.equal(await bodyOf(gone), 'said by one who left', 'who has left the room can take nothing back');
  assert.equal(await bodyOf(later), 'later');
  await house.clock.advance(200_000);
  assert.equal(await bodyOf(later), undefined);
  assert.equal(await bodyOf(stays), 'never');
});
