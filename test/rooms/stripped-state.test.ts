import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { alice, bob, draft, household } from './room-kit.ts';

test('when the invited see a room, they see what the configuration names', async (t) => {
  const home = household(t, {
    prejoinState: [
      { type: 'org.example.badge', stateKey: 'gold' },
      { type: 'org.example.badge', stateKey: 'none' },
      { type: 'org.example.house', stateKey: undefined },
      { type: 'org.example.house', stateKey: 'blue' },
    ],
  });
  const roomId = await home.createRoom({
    more: [
      draft.state(alice, 'm.room.name', { name: 'Kitchen' }),
      draft.state(alice, 'org.example.badge', { is: 1 }, 'gold'),
      draft.state(alice, 'org.example.badge', { is: 2 }, 'silver'),
      draft.state(alice, 'org.example.house', { is: 3 }, 'blue'),
      draft.state(alice, 'org.example.house', { is: 4 }, 'red'),
    ],
  });
  await home.send(roomId, draft.member(alice, bob, 'invite'));
  const shown = home.rooms.members.listStrippedState(roomId, bob);
  assert.deepEqual(shown.map((event) => JSON.stringify([event['type'], event['state_key']])).sort(), [
    // The room itself, who invites, and the invite are shown in any case.
    '["m.room.create",""]',
    `["m.room.member","${alice}"]`,
    `["m.room.member","${bob}"]`,
    '["org.example.badge","gold"]',
    '["org.example.house","blue"]',
    '["org.example.house","red"]',
  ]);
});

test('unless told otherwise, a room shows the invited its face and nothing else', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom({
    more: [
      draft.state(alice, 'm.room.name', { name: 'Kitchen' }),
      draft.state(alice, 'm.room.name', { name: 'Not a name' }, 'elsewhere'),
      draft.state(alice, 'org.example.secret', { is: 1 }),
    ],
  });
  await home.send(roomId, draft.member(alice, bob, 'invite'));
  const shown = home.rooms.members.listStrippedState(roomId, bob);
  assert.deepEqual(
    shown.map((event) => event['type']),
    ['m.room.create', 'm.room.name', 'm.room.join_rules', 'm.room.member', 'm.room.member'],
  );
  assert.equal(shown.at(-1)?.['state_key'], bob);
});

test('a running server shows the invited what room_prejoin_state says', async () => {
  await using server = await TestServer.start({
    config: {
      room_prejoin_state: {
        disable_default_event_types: true,
        additional_event_types: [['org.example.house', 'blue']],
      },
    },
  });
  const anna = await server.register('anna');
  const ben = await server.register('ben');
  const roomId = await anna.createRoom({ name: 'Kitchen' });
  await anna.setState(roomId, 'org.example.house', { is: 1 }, 'blue');
  await anna.setState(roomId, 'org.example.house', { is: 2 }, 'red');
  await anna.invite(roomId, ben.userId);
  const { events } = (await ben.sync()).rooms.invite[roomId].invite_state;
  assert.deepEqual(
    events.map(({ type, state_key }: Json) => [type, state_key]),
    [
      ['m.room.create', ''],
      ['org.example.house', 'blue'],
      ['m.room.member', anna.userId],
      ['m.room.member', ben.userId],
    ],
  );
});
