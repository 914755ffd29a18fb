import assert from 'node:assert/strict';
import { test } from 'node:test';
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
