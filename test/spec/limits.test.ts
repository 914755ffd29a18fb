import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, expectError, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const v3 = '/_matrix/client/v3';
const TWICE = { per_second: 0.001, burst_count: 2 };

interface Scene {
  readonly server: TestServer;
  readonly alice: TestClient;
  readonly bob: TestClient;
  /** Of Alice's, with Bob in it. */
  readonly room: string;
  /** Public rooms of Alice's that nobody else is in. */
  readonly rooms: readonly string[];
  /** Events of Bob's. */
  readonly said: readonly string[];
}

/** What an option limits: asked for with 0, 1 and so on, and each time something that succeeds where there is no limit. */
interface Limited {
  readonly options: Json;
  readonly ask: (scene: Scene, time: number) => Promise<Answer>;
}

const inRoom = ({ room }: Scene, rest: string): string => `${v3}/rooms/${encodeURIComponent(room)}/${rest}`;
const logIn = ({ server }: Scene, name: string, password = `password of ${name}`): Promise<Answer> =>
  server.anonymous().post(`${v3}/login`, {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: name },
    password,
  });
const join = (who: TestClient, roomId = ''): Promise<Answer> => who.post(`${v3}/join/${encodeURIComponent(roomId)}`);

const limited: Readonly<Record<string, Limited>> = {
  'messages of a user': {
    options: { rc_message: TWICE },
    ask: (scene, time) =>
      scene.bob.put(inRoom(scene, `send/m.room.message/l${time}`), { msgtype: 'm.text', body: 'x' }),
  },
  'state a user sets': {
    options: { rc_message: TWICE },
    ask: (scene, time) => scene.alice.put(inRoom(scene, 'state/m.room.topic/'), { topic: `${time}` }),
  },
  'redactions of one’s own': {
    options: { rc_message: TWICE },
    ask: (scene, time) => scene.bob.put(inRoom(scene, `redact/${encodeURIComponent(scene.said[time] ?? '')}/r${time}`)),
  },
  'redactions by moderators': {
    options: { rc_admin_redaction: TWICE },
    ask: (scene, time) =>
      scene.alice.put(inRoom(scene, `redact/${encodeURIComponent(scene.said[time] ?? '')}/r${time}`)),
  },
  'redactions by moderators, where only messages have a limit': {
    options: { rc_message: TWICE, rc_admin_redaction: null },
    ask: (scene, time) =>
      scene.alice.put(inRoom(scene, `redact/${encodeURIComponent(scene.said[time] ?? '')}/m${time}`)),
  },
  'registrations from an address': {
    options: { rc_registration: TWICE },
    ask: ({ server }, time) =>
      server.anonymous().post(`${v3}/register`, {
        username: `new${time}`,
        password: 'correct horse battery',
        auth: { type: 'm.login.dummy' },
      }),
  },
  'guests from an address': {
    options: { rc_registration: TWICE, allow_guest_access: true },
    ask: ({ server }) => server.anonymous().post(`${v3}/register`, {}, { kind: 'guest' }),
  },
  'guesses at registration tokens': {
    options: { rc_registration_token_validity: TWICE },
    ask: ({ server }, time) =>
      server
        .anonymous()
        .get('/_matrix/client/v1/register/m.login.registration_token/validity', { token: `guess${time}` }),
  },
  'logins from an address': {
    options: { rc_login: { address: TWICE } },
    ask: (scene, time) => logIn(scene, time === 0 ? 'alice' : 'bob'),
  },
  'logins to an account': {
    options: { rc_login: { account: TWICE } },
    ask: (scene, time) => logIn(scene, time === 0 ? 'Alice' : '@alice:hearth.test', 'password of alice'),
  },
  'joins of a user': {
    options: { rc_joins: { local: TWICE } },
    ask: ({ bob, rooms }, time) => join(bob, rooms[time]),
  },
  'media announced before they come': {
    options: { rc_media_create: TWICE },
    ask: ({ alice }) => alice.post('/_matrix/media/v1/create'),
  },
  'reports, whatever they are about': {
    options: { rc_reports: TWICE },
    ask: (scene, time) => {
      const about = encodeURIComponent(scene.said[0] ?? '');
      const paths = [inRoom(scene, 'report'), inRoom(scene, `report/${about}`), `${v3}/users/@bob:hearth.test/report`];
      return scene.alice.post(paths[time % paths.length] ?? '', { reason: 'rude' });
    },
  },
  'rooms a user makes': {
    options: { rc_room_creation: TWICE },
    ask: ({ alice }) => alice.post(`${v3}/createRoom`),
  },
  'searches for users': {
    options: { rc_user_directory: TWICE },
    ask: ({ alice }) => alice.post(`${v3}/user_directory/search`, { search_term: 'bob' }),
  },
};

test('each limit of the configuration holds where it should, and says how long to wait', async (t) => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const room = await alice.createRoom({ preset: 'public_chat' });
  await bob.join(room);
  for (const [what, { options, ask }] of Object.entries(limited)) {
    const rooms: string[] = [];
    const said: string[] = [];
    await server.restart();
    for (let n = 0; n < 3; n += 1) {
      if (what.startsWith('joins')) rooms.push(await alice.createRoom({ preset: 'public_chat' }));
      else if (/redactions|reports/.test(what)) said.push(await bob.send(room, `${n}`));
    }
    await server.restart(options);
    const scene = { server, alice, bob, room, rooms, said };
    await t.test(what, async () => {
      for (const time of [0, 1]) assert.equal((await ask(scene, time)).status, 200, `${time}`);
      const answer = await ask(scene, 2);
      const { retry_after_ms: waitMs } = expectError(answer, 429, 'M_LIMIT_EXCEEDED');
      assert.ok(waitMs > 0);
      assert.ok(Number(answer.headers.get('retry-after')) >= waitMs / 1_000);
    });
  }
});

test('wrong passwords have a limit of their own, which the right one does not pass either', async () => {
  await using server = await TestServer.start();
  await server.register('alice');
  await server.restart({ rc_login: { failed_attempts: TWICE } });
  const scene = { server } as Scene;
  for (let n = 0; n < 2; n += 1) expectError(await logIn(scene, 'alice', 'wrong'), 403, 'M_FORBIDDEN');
  expectError(await logIn(scene, 'alice'), 429, 'M_LIMIT_EXCEEDED');
});

test('a limit holds for a user by themselves', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const bob = await server.register('bob');
  const room = await alice.createRoom({ preset: 'public_chat' });
  await bob.join(room);
  await server.restart({ rc_message: TWICE });
  for (let n = 0; n < 2; n += 1) await alice.send(room, `${n}`);
  const path = `${v3}/rooms/${encodeURIComponent(room)}/send/m.room.message/x`;
  expectError(await alice.put(path, { msgtype: 'm.text', body: 'x' }), 429, 'M_LIMIT_EXCEEDED');
  assert.equal((await bob.put(path, { msgtype: 'm.text', body: 'x' })).status, 200);
});
