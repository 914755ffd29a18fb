import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

/** Where a datum of somebody is; of a room, if one is named. */
function datum(of: TestClient | string, type: string, roomId?: string): string {
  const userId = encodeURIComponent(typeof of === 'string' ? of : of.userId);
  const room = roomId === undefined ? '' : `/rooms/${encodeURIComponent(roomId)}`;
  return `/_matrix/client/v3/user/${userId}${room}/account_data/${encodeURIComponent(type)}`;
}

/** Account data as events, those of the server's own making left out. */
const own = (events: Json[] | undefined): Json[] => (events ?? []).filter(({ type }) => type !== 'm.push_rules');

test('what a user puts away is theirs to read on every device, and nobody else’s', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const tablet = await server.login('anna');
  const bob = await server.register('bob');
  const theme = { colour: 'green', sizes: [1, 2.5, null], nested: { ü: '€' } };

  assert.deepEqual(expectOk(await anna.put(datum(anna, 'org.example.theme'), theme)), {});
  assert.deepEqual(expectOk(await tablet.get(datum(anna, 'org.example.theme'))), theme);
  expectError(await bob.get(datum(anna, 'org.example.theme')), 403, 'M_FORBIDDEN');
  expectError(await bob.put(datum(anna, 'org.example.theme'), {}), 403, 'M_FORBIDDEN');
  expectError(await server.anonymous().get(datum(anna, 'org.example.theme')), 401, 'M_MISSING_TOKEN');
  expectError(await bob.get(datum(bob, 'org.example.theme')), 404, 'M_NOT_FOUND');
});

test('account data of a room and of none are strangers to each other', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const kitchen = await anna.createRoom();
  const attic = await anna.createRoom();

  expectOk(await anna.put(datum(anna, 'org.example.colour'), { is: 'white' }));
  expectOk(await anna.put(datum(anna, 'org.example.colour', kitchen), { is: 'yellow' }));
  assert.deepEqual(expectOk(await anna.get(datum(anna, 'org.example.colour', kitchen))), { is: 'yellow' });
  assert.deepEqual(expectOk(await anna.get(datum(anna, 'org.example.colour'))), { is: 'white' });
  expectError(await anna.get(datum(anna, 'org.example.colour', attic)), 404, 'M_NOT_FOUND');
  expectError(await anna.put(datum(anna, 'org.example.colour', 'kitchen'), {}), 400, 'M_INVALID_PARAM');
  expectError(await anna.get(datum(anna, 'org.example.colour', '#kitchen:hearth.test')), 400, 'M_INVALID_PARAM');
});

test('account data is a JSON object under a type of a size that can be kept', async () => {
  await using server = await TestServer.start({ config: { allow_guest_access: true } });
  const anna = await server.register('anna');
  const guest = await server.guest();

  expectError(await anna.put(datum(anna, 'org.example.list'), ['a']), 400, 'M_BAD_JSON');
  expectError(await anna.put(datum(anna, 'org.example.list'), 'not json'), 400, 'M_NOT_JSON');
  expectError(await anna.put(datum(anna, 'x'.repeat(256)), {}), 400, 'M_INVALID_PARAM');
  expectOk(await anna.put(datum(anna, 'x'.repeat(255)), {}));
  assert.deepEqual(expectOk(await anna.get(datum(anna, 'x'.repeat(255)))), {});
  expectError(await guest.put(datum(guest, 'org.example.theme'), {}), 403, 'M_GUEST_ACCESS_FORBIDDEN');
});

test('what the server answers for itself cannot be set as account data', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const kitchen = await anna.createRoom();

  for (const type of ['m.push_rules', 'm.fully_read']) {
    expectError(await anna.put(datum(anna, type), {}), 405, 'M_BAD_JSON');
    expectError(await anna.put(datum(anna, type, kitchen), {}), 405, 'M_BAD_JSON');
  }
  expectError(await anna.put(datum(anna, 'm.tag', kitchen), { tags: {} }), 405, 'M_BAD_JSON');
  expectOk(await anna.put(datum(anna, 'm.direct'), { [anna.userId]: [kitchen] }));
});

test('tags can be read as the account data they are told as', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const kitchen = await anna.createRoom();
  const room = `/_matrix/client/v3/user/${anna.userId}/rooms/${encodeURIComponent(kitchen)}`;

  expectError(await anna.get(datum(anna, 'm.tag', kitchen)), 404, 'M_NOT_FOUND');
  expectOk(await anna.put(`${room}/tags/u.home`, { order: 0.5 }));
  assert.deepEqual(expectOk(await anna.get(datum(anna, 'm.tag', kitchen))), { tags: { 'u.home': { order: 0.5 } } });
});

test('a first sync has all account data, a later one what changed since, the latest of each', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const kitchen = await anna.createRoom();
  expectOk(await anna.put(datum(anna, 'org.example.one'), { n: 1 }));
  expectOk(await anna.put(datum(anna, 'org.example.two'), { n: 1 }));
  expectOk(await anna.put(datum(anna, 'org.example.one', kitchen), { n: 1 }));

  const first = await anna.sync();
  assert.deepEqual(own(first.account_data.events), [
    { type: 'org.example.one', content: { n: 1 } },
    { type: 'org.example.two', content: { n: 1 } },
  ]);
  assert.deepEqual(first.rooms.join[kitchen].account_data.events, [{ type: 'org.example.one', content: { n: 1 } }]);

  for (const n of [2, 3]) {
    expectOk(await anna.put(datum(anna, 'org.example.two'), { n }));
    expectOk(await anna.put(datum(anna, 'org.example.one', kitchen), { n }));
  }
  const later = await anna.sync({ since: first.next_batch });
  assert.deepEqual(later.account_data.events, [{ type: 'org.example.two', content: { n: 3 } }]);
  assert.deepEqual(later.rooms.join[kitchen].account_data.events, [{ type: 'org.example.one', content: { n: 3 } }]);
  const last = await anna.sync({ since: later.next_batch });
  assert.equal(last.account_data, undefined);
  assert.equal(last.rooms, undefined);
});

test('a device that waits hears at once what another of the same user put away, those of others do not', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const tablet = await server.login('anna');
  const bob = await server.register('bob');
  const kitchen = await anna.createRoom({ preset: 'public_chat' });
  await bob.join(kitchen);
  const { next_batch: bobSince } = await bob.sync();
  const { next_batch: tabletSince } = await tablet.sync();

  const waiting = tablet.sync({ since: tabletSince, timeout: 60_000 });
  expectOk(await anna.put(datum(anna, 'org.example.secret', kitchen), { diary: 'dear …' }));
  const heard = await waiting;
  assert.deepEqual(heard.rooms.join[kitchen].account_data.events, [
    { type: 'org.example.secret', content: { diary: 'dear …' } },
  ]);
  const bobs = await bob.sync({ since: bobSince });
  assert.equal(bobs.account_data, undefined);
  assert.equal(bobs.rooms, undefined);
});

test('whoever joins a room once more gets the account data they had for it', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const kitchen = await anna.createRoom({ preset: 'public_chat' });
  await bob.join(kitchen);
  expectOk(await bob.put(datum(bob, 'org.example.colour', kitchen), { is: 'yellow' }));
  await bob.leave(kitchen);
  const { next_batch: since } = await bob.sync();
  await bob.join(kitchen);

  const { rooms } = await bob.sync({ since });
  assert.deepEqual(rooms.join[kitchen].account_data.events, [
    { type: 'org.example.colour', content: { is: 'yellow' } },
  ]);
});

test('a filter says which account data a client wants', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const kitchen = await anna.createRoom();
  for (const type of ['org.example.one', 'org.example.two']) {
    expectOk(await anna.put(datum(anna, type), {}));
    expectOk(await anna.put(datum(anna, type, kitchen), {}));
  }
  const filter = {
    account_data: { types: ['org.example.one'] },
    room: { account_data: { not_types: ['org.example.one'] } },
  };

  const answer = await anna.sync({ filter });
  assert.deepEqual(answer.account_data.events, [{ type: 'org.example.one', content: {} }]);
  assert.deepEqual(answer.rooms.join[kitchen].account_data.events, [{ type: 'org.example.two', content: {} }]);
});

test('ignoring somebody works from the next sync on, and so does no longer ignoring them', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const kitchen = await anna.createRoom({ preset: 'public_chat' });
  await bob.join(kitchen);
  const { next_batch: start } = await anna.sync();
  const texts = (answer: Json): string[] =>
    (answer.rooms?.join?.[kitchen]?.timeline?.events ?? []).map(({ content }: Json) => content.body ?? content.name);
  const ignore = async (users: Json): Promise<void> => {
    expectOk(await anna.put(datum(anna, 'm.ignored_user_list'), users));
  };

  await ignore({ ignored_users: { [bob.userId]: {}, [anna.userId]: {}, nonsense: {} } });
  await bob.send(kitchen, 'can you hear me?');
  await anna.send(kitchen, 'how quiet it is');
  const quiet = await anna.sync({ since: start });
  assert.deepEqual(texts(quiet), ['how quiet it is'], 'nobody can ignore themselves');

  await ignore({ ignored_users: {} });
  await bob.send(kitchen, 'and now?');
  assert.deepEqual(texts(await anna.sync({ since: quiet.next_batch })), ['and now?']);
  await ignore({ ignored_users: 'bob' });
  await bob.send(kitchen, 'still?');
  assert.deepEqual(texts(await anna.sync({ since: quiet.next_batch })), ['and now?', 'still?']);
});

test('account data survives a restart', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  expectOk(await anna.put(datum(anna, 'org.example.theme'), { colour: 'green' }));
  expectOk(await anna.put(datum(anna, 'm.ignored_user_list'), { ignored_users: { '@bob:hearth.test': {} } }));
  const { next_batch: since } = await anna.sync();
  await server.restart();

  assert.deepEqual(expectOk(await anna.get(datum(anna, 'org.example.theme'))), { colour: 'green' });
  assert.equal((await anna.sync({ since })).account_data, undefined);
});

test('what is deleted is gone at once, and other devices hear of it once', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const roomId = await anna.createRoom();
  const deletion = (type: string, of = anna, room?: string): string =>
    datum(of, type, room).replace('/v3/', '/unstable/org.matrix.msc3391/');
  expectOk(await anna.put(datum(anna, 'org.example.theme'), { colour: 'green' }));
  expectOk(await anna.put(datum(anna, 'org.example.theme', roomId), { colour: 'red' }));
  const { next_batch: before } = await anna.sync();

  expectError(await bob.delete(deletion('org.example.theme')), 403, 'M_FORBIDDEN');
  expectError(await anna.delete(deletion('m.push_rules')), 405, 'M_BAD_JSON');
  expectOk(await anna.delete(deletion('org.example.theme')));
  expectOk(await anna.delete(deletion('org.example.theme', anna, roomId)));
  expectOk(await anna.delete(deletion('org.example.never', anna)));
  expectError(await anna.get(datum(anna, 'org.example.theme')), 404, 'M_NOT_FOUND');
  expectError(await anna.get(datum(anna, 'org.example.theme', roomId)), 404, 'M_NOT_FOUND');

  const told = await anna.sync({ since: before });
  const empty = [{ type: 'org.example.theme', content: {} }];
  assert.deepEqual(told.account_data.events, empty);
  assert.deepEqual(told.rooms.join[roomId].account_data.events, empty);
  const later = await anna.sync({ since: told.next_batch });
  assert.equal(later.account_data?.events?.length ?? 0, 0);
  const anew = await anna.sync();
  assert.deepEqual(own(anew.account_data.events), []);
  assert.deepEqual(anew.rooms.join[roomId].account_data.events, []);

  expectOk(await anna.put(datum(anna, 'org.example.theme'), { colour: 'blue' }));
  assert.deepEqual(expectOk(await anna.get(datum(anna, 'org.example.theme'))), { colour: 'blue' });
});

test('who is ignored no more since the list was deleted is heard again', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const roomId = await anna.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);
  expectOk(await anna.put(datum(anna, 'm.ignored_user_list'), { ignored_users: { [bob.userId]: {} } }));
  await bob.send(roomId, 'unheard');
  const path = datum(anna, 'm.ignored_user_list').replace('/v3/', '/unstable/org.matrix.msc3391/');
  expectOk(await anna.delete(path));
  const { next_batch: since } = await anna.sync();
  await bob.send(roomId, 'heard');
  const { rooms } = await anna.sync({ since });
  assert.deepEqual(
    rooms.join[roomId].timeline.events.map(({ content }: Json) => content.body),
    ['heard'],
  );
});

test('what a device had set for itself goes with the device', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const tablet = await server.login('anna');
  const names = ['m.local_notification_settings', 'org.matrix.msc3890.local_notification_settings'];
  for (const name of names) {
    for (const { deviceId } of [anna, tablet]) {
      expectOk(await anna.put(datum(anna, `${name}.${deviceId}`), { is_silenced: true }));
    }
  }
  expectOk(await tablet.post('/_matrix/client/v3/logout'));
  for (const name of names) {
    expectError(await anna.get(datum(anna, `${name}.${tablet.deviceId}`)), 404, 'M_NOT_FOUND');
    expectOk(await anna.get(datum(anna, `${name}.${anna.deviceId}`)));
  }
});
