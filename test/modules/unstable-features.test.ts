import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const UNSTABLE = '/_matrix/client/unstable';

const roomPath = (roomId: string, rest: string): string =>
  `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/${rest}`;

const featuresOf = async (server: TestServer): Promise<Json> =>
  expectOk(await server.anonymous().get('/_matrix/client/versions')).unstable_features;

test('what was served before it was in the spec still answers where old clients look for it', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const bob = await server.register('bob');
  const roomId = await anna.createRoom({ preset: 'public_chat' });
  await bob.join(roomId);
  const eventId = await anna.send(roomId, 'Hello');
  const room = encodeURIComponent(roomId);
  const answers: Record<string, Answer> = {
    'org.matrix.msc2432': await anna.get(`${UNSTABLE}/org.matrix.msc2432/rooms/${room}/aliases`),
    'org.matrix.msc3030': await anna.get(`${UNSTABLE}/org.matrix.msc3030/rooms/${room}/timestamp_to_event`, {
      ts: 0,
      dir: 'f',
    }),
    'org.matrix.msc3856.stable': await anna.get(`${UNSTABLE}/org.matrix.msc3856/rooms/${room}/threads`),
    'org.matrix.msc3981': await anna.get(`${UNSTABLE}/rooms/${room}/relations/${encodeURIComponent(eventId)}`, {
      'org.matrix.msc3981.recurse': true,
    }),
    'org.matrix.msc4151': await anna.post(`${UNSTABLE}/org.matrix.msc4151/rooms/${room}/report`, { reason: 'boring' }),
    'uk.half-shot.msc2666.query_mutual_rooms': await anna.get(`${UNSTABLE}/uk.half-shot.msc2666/user/mutual_rooms`, {
      user_id: bob.userId,
    }),
    'uk.tcpip.msc4133': await anna.put(
      `${UNSTABLE}/uk.tcpip.msc4133/profile/${encodeURIComponent(anna.userId)}/org.example.pet`,
      { 'org.example.pet': 'cat' },
    ),
    summary: await bob.get(`${UNSTABLE}/im.nheko.summary/rooms/${room}/summary`),
  };
  const features = await featuresOf(server);
  for (const [name, answer] of Object.entries(answers)) {
    expectOk(answer);
    if (name !== 'summary') assert.equal(features[name], true, name);
  }
  assert.equal(answers['org.matrix.msc3981']?.body.recursion_depth, 3);
  assert.deepEqual(answers['uk.half-shot.msc2666.query_mutual_rooms']?.body.joined, [roomId]);
});

test('a client is told what the configuration decides', async () => {
  await using plain = await TestServer.start();
  await using strict = await TestServer.start({
    config: { encryption_enabled_by_default_for_room_type: 'invite', enable_media_repo: false },
  });
  const names = ['io.element.e2ee_forced.private', 'io.element.e2ee_forced.public', 'org.matrix.msc3916.stable'];
  const told = async (server: TestServer): Promise<boolean[]> => {
    const features = await featuresOf(server);
    return names.map((name) => features[name]);
  };
  assert.deepEqual(await told(plain), [false, false, true]);
  assert.deepEqual(await told(strict), [true, false, false]);
});

test('a page of messages can be had of certain relations, or of certain labels, or of none', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const roomId = await anna.createRoom();
  const rootId = await anna.send(roomId, { msgtype: 'm.text', body: 'root', 'org.matrix.labels': ['#fun', '#work'] });
  const relate = (body: string, relType: string): Promise<string> =>
    anna.send(roomId, { msgtype: 'm.text', body, 'm.relates_to': { rel_type: relType, event_id: rootId } });
  await relate('in the thread', 'm.thread');
  await relate('about it', 'm.reference');
  await anna.send(roomId, { msgtype: 'm.text', body: 'fun', 'org.matrix.labels': ['#fun'] });
  await anna.send(roomId, { msgtype: 'm.text', body: 'nothing', 'org.matrix.labels': '#fun', 'm.relates_to': 7 });

  const page = async (filter: Json): Promise<string[]> => {
    const query = { dir: 'f', limit: 100, filter: JSON.stringify({ types: ['m.room.message'], ...filter }) };
    return expectOk(await anna.get(roomPath(roomId, 'messages'), query)).chunk.map(({ content }: Json) => content.body);
  };
  const relTypes = 'org.matrix.msc3874.rel_types';
  const notRelTypes = 'org.matrix.msc3874.not_rel_types';
  assert.deepEqual(await page({ [relTypes]: ['m.thread'] }), ['in the thread']);
  assert.deepEqual(await page({ [relTypes]: ['m.thread', 'm.reference'] }), ['in the thread', 'about it']);
  assert.deepEqual(await page({ [relTypes]: [] }), []);
  assert.deepEqual(await page({ [notRelTypes]: ['m.thread'] }), ['root', 'about it', 'fun', 'nothing']);
  assert.deepEqual(await page({ 'org.matrix.labels': ['#fun'] }), ['root', 'fun']);
  assert.deepEqual(await page({ 'org.matrix.labels': ['#fun'], 'org.matrix.not_labels': ['#work'] }), ['fun']);

  const bad = { dir: 'f', filter: JSON.stringify({ [relTypes]: 'm.thread' }) };
  expectError(await anna.get(roomPath(roomId, 'messages'), bad), 400, 'M_BAD_JSON');
  // The same keys hold in a sync.
  const { rooms } = await anna.sync({ filter: { room: { timeline: { [relTypes]: ['m.reference'] } } } });
  assert.deepEqual(
    rooms.join[roomId].timeline.events.map(({ content }: Json) => content.body),
    ['about it'],
  );
});

for (const version of ['org.matrix.msc3757.10', 'org.matrix.msc3757.11']) {
  test(`in a room of version ${version} state has owners, and those above them`, async () => {
    await using server = await TestServer.start();
    const anna = await server.register('anna');
    const bob = await server.register('bob');
    const carol = await server.register('carol');
    const { capabilities } = expectOk(await anna.get('/_matrix/client/v3/capabilities'));
    assert.equal(capabilities['m.room_versions'].available[version], 'unstable');
    assert.equal(capabilities['m.room_versions'].available['11'], 'stable');
    const roomId = await anna.createRoom({
      preset: 'public_chat',
      room_version: version,
      power_level_content_override: { state_default: 0 },
    });
    await bob.join(roomId);
    await carol.join(roomId);

    const set = (who: TestClient, key: string): Promise<Answer> =>
      who.put(roomPath(roomId, `state/org.example.call/${encodeURIComponent(key)}`), { by: who.userId });
    expectOk(await set(bob, bob.userId));
    expectOk(await set(bob, `${bob.userId}_PHONE`));
    expectOk(await set(bob, `${bob.userId}_`));
    expectOk(await set(anna, `${bob.userId}_PHONE`));
    expectError(await set(carol, `${bob.userId}_PHONE`), 403, 'M_FORBIDDEN');
    expectError(await set(bob, `${anna.userId}_PHONE`), 403, 'M_FORBIDDEN');
    expectError(await set(bob, '@nobody'), 403, 'M_FORBIDDEN');
    expectError(await set(bob, `${bob.userId}-PHONE`), 403, 'M_FORBIDDEN');
  });
}

test('in other rooms a state key with a user ID is that user’s alone, and nothing may follow it', async () => {
  await using server = await TestServer.start();
  const anna = await server.register('anna');
  const roomId = await anna.createRoom({ room_version: '11' });
  const path = roomPath(roomId, `state/org.example.call/${encodeURIComponent(`${anna.userId}_PHONE`)}`);
  expectError(await anna.put(path, {}), 403, 'M_FORBIDDEN');
});
