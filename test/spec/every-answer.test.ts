import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startHouse, v1, v3 } from './answers-house.ts';
import { events, rooms } from './answers-of-rooms.ts';
import { encryption, media } from './answers-to-devices.ts';
import { accounts, addresses, belongings } from './answers-to-people.ts';
import { appservices, appservicesAreAsked, others } from './answers-to-services.ts';
import { Exercise } from './exercise.ts';
import { served } from './operations.ts';

/** What never succeeds on a server that has no other ways in, and checks no policies for others. */
const WITHOUT_SUCCESS = [
  `GET ${v1}/auth_metadata`,
  `GET ${v3}/login/sso/redirect`,
  `GET ${v3}/login/sso/redirect/:idpId`,
  'GET /.well-known/matrix/policy_server',
];
/** What everybody may have. */
const WITHOUT_REFUSAL = ['GET /_matrix/client/versions', `GET ${v3}/login`];

test('every operation is seen to succeed, and to be refused, with the codes and keys of the specification', async (t) => {
  await using house = await startHouse();
  const ex = new Exercise();
  const { server } = house;
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const nobody = server.anonymous();
  const roomId = await alice.createRoom({ preset: 'public_chat', name: 'Tea' });
  await bob.join(roomId);
  ex.usually({ roomId, roomIdOrAlias: roomId, userId: alice.userId, serverName: 'hearth.test' });
  const story = { ...house, ex, alice, bob, nobody, roomId };

  await t.test('accounts and devices', () => accounts(story));
  await t.test('rooms and who is in them', () => rooms(story));
  await t.test('events', () => events(story));
  await t.test('what a user keeps here', () => belongings(story));
  await t.test('keys and messages to devices', () => encryption(story));
  await t.test('media', () => media(story));
  await t.test('addresses', () => addresses(story));
  await t.test('application services', () => appservices(story));
  await t.test('what application services are asked', () => appservicesAreAsked(story));
  await t.test('administration and discovery', () => others(story));

  await t.test('nothing was left out', () => {
    const all = Object.entries(served).flatMap(([path, methods]) => methods.map((method) => `${method} ${path}`));
    const lacking = (seen: ReadonlySet<string>, excused: readonly string[]): string[] =>
      all.filter((operation) => !seen.has(operation) && !excused.includes(operation));
    assert.deepEqual(lacking(ex.succeeded, WITHOUT_SUCCESS), []);
    assert.deepEqual(lacking(ex.refused, WITHOUT_REFUSAL), []);
    const known = new Set(all);
    assert.deepEqual(
      [...ex.succeeded, ...ex.refused].filter((operation) => !known.has(operation)),
      [],
    );
    assert.deepEqual(
      WITHOUT_SUCCESS.filter((operation) => ex.succeeded.has(operation)),
      [],
    );
  });
});
