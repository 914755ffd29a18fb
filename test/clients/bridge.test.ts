import { Heard, picture, saying, untilEvent } from './bot-kit.ts';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Appservice, AutojoinRoomsMixin, type IAppserviceRegistration, MemoryStorageProvider } from 'matrix-bot-sdk';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { findPort } from './server-process.ts';

const SERVER = 'hearth.test';

/** A bridge to a place where people have mirrors: users `@mirror_…`, aliases `#mirror_…`. Whoever is asked for exists. */
class Bridge implements Disposable {
  readonly messages = new Heard();
  readonly ephemeral = new Heard();
  readonly pings = new Heard();
  readonly #dir = mkdtempSync(join(tmpdir(), 'hearth-bridge-'));
  readonly #storage = new MemoryStorageProvider();
  readonly #registration: IAppserviceRegistration & { readonly url: string };
  readonly #port: number;
  #service: Appservice | undefined;

  constructor(port: number) {
    this.#port = port;
    this.#registration = {
      id: 'mirror',
      url: `http://127.0.0.1:${port}`,
      as_token: 'token-of-the-service',
      hs_token: 'token-of-the-server',
      sender_localpart: 'mirror_bot',
      namespaces: {
        users: [{ exclusive: true, regex: `@mirror_.*:${SERVER}` }],
        aliases: [{ exclusive: true, regex: `#mirror_.*:${SERVER}` }],
        rooms: [],
      },
      protocols: ['mirror'],
      rate_limited: false,
      'de.sorunome.msc2409.push_ephemeral': true,
    };
  }

  /** Its registration, which is YAML too. */
  get file(): string {
    const file = join(this.#dir, 'registration.yaml');
    writeFileSync(file, JSON.stringify(this.#registration));
    return file;
  }

  /** Begins (again) to listen and to do what it does. */
  async begin(server: TestServer): Promise<Appservice> {
    const service = new Appservice({
      port: this.#port,
      bindAddress: '127.0.0.1',
      homeserverName: SERVER,
      homeserverUrl: server.baseUrl,
      registration: this.#registration,
      storage: this.#storage,
    });
    AutojoinRoomsMixin.setupOnAppservice(service);
    service.on('room.message', (_roomId: string, event: Json) => this.messages.take(event));
    service.on('ephemeral.event', this.ephemeral.take);
    service.on('query.user', (userId: string, create: (profile: Json) => void) => {
      const suffix = service.getSuffixForUserId(userId);
      create(suffix === 'nobody' ? false : { display_name: `${suffix} in the mirror` });
    });
    service.on('query.room', (alias: string, create: (room: Json) => void) => {
      const suffix = service.getSuffixForAlias(alias);
      create(suffix === 'nowhere' ? false : { name: `The ${suffix}`, preset: 'public_chat' });
    });
    service.on('thirdparty.protocol', (_protocol: string, answer: (protocol: Json) => void) =>
      answer({
        user_fields: ['side'],
        location_fields: [],
        icon: 'mxc://x/y',
        field_types: {},
        instances: [{ network_id: 'home', desc: 'At home', fields: {} }],
      }),
    );
    service.on('thirdparty.user.remote', (_protocol: string, fields: Json, answer: (found: Json[]) => void) =>
      answer([{ userid: service.getUserIdForSuffix(fields.side), protocol: 'mirror', fields }]),
    );
    service.expressAppInstance.post('/_matrix/app/v1/ping', (request, response) => {
      this.pings.take(request.body);
      response.json({});
    });
    await service.begin();
    this.#service = service;
    return service;
  }

  stop(): void {
    this.#service?.stop();
    this.#service?.removeAllListeners();
    this.#service = undefined;
  }

  [Symbol.dispose](): void {
    this.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function path(roomId: string): string {
  return `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}`;
}

async function joinedOf(person: TestClient, roomId: string): Promise<string[]> {
  return Object.keys(expectOk(await person.get(`${path(roomId)}/joined_members`)).joined).sort();
}

test('a bridge has ghosts and rooms as they are asked for, speaks as its ghosts, and hears what is said to them', async (t) => {
  using bridge = new Bridge(await findPort());
  await using server = await TestServer.start({
    serverName: SERVER,
    config: { app_service_config_files: [bridge.file] },
  });
  const service = await bridge.begin(server);
  const ann = await server.register('ann');
  const joe = service.getUserIdForSuffix('joe');
  const bot = service.botUserId;
  assert.equal((await service.botClient.getWhoAmI()).user_id, bot);

  // Somebody who is not there until Ann asks for them.
  const roomId = await ann.createRoom({ preset: 'private_chat', invite: [joe] });
  const joined = await untilEvent(ann, ({ state_key: key, content }) => key === joe && content.membership === 'join');
  assert.equal(joined.content.displayname, 'joe in the mirror');
  expectError(await ann.get(`/_matrix/client/v3/profile/${service.getUserIdForSuffix('nobody')}`), 404, 'M_NOT_FOUND');
  expectError(
    await server.anonymous().post('/_matrix/client/v3/register', {
      username: 'mirror_eve',
      password: 'password of eve',
      auth: { type: 'm.login.dummy' },
    }),
    400,
    'M_EXCLUSIVE',
  );

  // A room that is not there until she does.
  expectError(
    await ann.post(`/_matrix/client/v3/join/${encodeURIComponent(service.getAliasForSuffix('nowhere'))}`),
    404,
    'M_NOT_FOUND',
  );
  const hall = await ann.join(service.getAliasForSuffix('hall'));
  assert.deepEqual(await joinedOf(ann, hall), [bot, ann.userId].sort());
  assert.deepEqual(expectOk(await ann.get(`${path(hall)}/state/m.room.name`)), { name: 'The hall' });

  // Both ways.
  const intent = service.getIntentForSuffix('joe');
  const asked = await ann.send(roomId, 'Who are you?');
  const heard = await bridge.messages.until(({ event_id: id }) => id === asked);
  assert.deepEqual([heard.room_id, heard.sender, heard.content.body], [roomId, ann.userId, 'Who are you?']);
  await intent.sendText(roomId, 'The other Joe.');
  assert.equal((await untilEvent(ann, saying('The other Joe.'))).sender, joe);
  const jane = service.getIntentForSuffix('jane');
  await jane.ensureRegisteredAndJoined(hall);
  await jane.sendEvent(hall, { msgtype: 'm.emote', body: 'waves' });
  assert.equal((await untilEvent(ann, saying('waves'))).sender, jane.userId);
  assert.deepEqual(await jane.getJoinedRooms(), [hall]);
  await assert.rejects(service.getIntentForUserId(ann.userId).underlyingClient.sendText(hall, 'I am Ann'), {
    errcode: 'M_FORBIDDEN',
    statusCode: 403,
  });

  // A ghost has a face, and may come from long ago.
  const mxc = await intent.underlyingClient.uploadContent(await picture(), 'image/png', 'joe.png');
  await intent.underlyingClient.setAvatarUrl(mxc);
  assert.deepEqual(expectOk(await ann.get(`/_matrix/client/v3/profile/${joe}`)), {
    displayname: 'joe in the mirror',
    avatar_url: mxc,
  });
  assert.equal((await ann.get(`/_matrix/client/v1/media/download/${mxc.slice('mxc://'.length)}`)).status, 200);
  const recent = await intent.underlyingClient.sendEvent(roomId, 'test.now', {});
  const old = await intent.unstableApis.sendEventWithTimestamp(
    roomId,
    'm.room.message',
    { msgtype: 'm.text', body: 'long ago' },
    1234,
  );
  const events = `${path(roomId)}/event`;
  assert.equal(expectOk(await ann.get(`${events}/${encodeURIComponent(old)}`)).origin_server_ts, 1234);
  assert.ok(expectOk(await ann.get(`${events}/${encodeURIComponent(recent)}`)).origin_server_ts > 1_600_000_000_000);

  // What it keeps with the server.
  await service.bridge.setRemoteUserInfo(intent, { id: 'joe#1' });
  await service.bridge.setRemoteRoomInfo(hall, { id: 'hall#1' });
  assert.deepEqual(await service.bridge.getRemoteUserInfo(intent), { id: 'joe#1' });
  assert.equal((await service.bridge.getIntentForRemote('joe#1')).userId, joe);
  assert.equal(await service.bridge.getMatrixRoomIdForRemote('hall#1'), hall);

  // Its network, as Ann's client shows it.
  const { mirror } = expectOk(await ann.get('/_matrix/client/v3/thirdparty/protocols'));
  assert.deepEqual(mirror.user_fields, ['side']);
  assert.deepEqual(expectOk(await ann.get('/_matrix/client/v3/thirdparty/user/mirror', { side: 'joe' })), [
    { userid: joe, protocol: 'mirror', fields: { side: 'joe' } },
  ]);
  await service.setRoomDirectoryVisibility('home', hall, 'public');
  const listed = async (query: Json): Promise<string[]> =>
    expectOk(await ann.post('/_matrix/client/v3/publicRooms', query)).chunk.map(({ room_id: id }: Json) => id);
  assert.deepEqual(await listed({ third_party_instance_id: mirror.instances[0].instance_id }), [hall]);
  assert.deepEqual(await listed({ include_all_networks: true }), [hall]);
  assert.deepEqual(await listed({}), [], 'it is in the list of that network only');

  // What is not an event.
  expectOk(
    await ann.put(`${path(roomId)}/typing/${encodeURIComponent(ann.userId)}`, { typing: true, timeout: 30_000 }),
  );
  const typing = await bridge.ephemeral.until(({ type }) => type === 'm.typing');
  assert.deepEqual([typing.room_id, typing.content], [roomId, { user_ids: [ann.userId] }]);
  expectOk(await ann.post(`${path(roomId)}/receipt/m.read/${encodeURIComponent(old)}`));
  const receipt = await bridge.ephemeral.until(({ type, content }) => type === 'm.receipt' && old in content);
  assert.ok(ann.userId in receipt.content[old]['m.read']);
  await intent.underlyingClient.setTyping(roomId, true, 30_000);
  await intent.underlyingClient.sendReadReceipt(roomId, asked);

  await t.test('what was said while it was away it hears when it is back, in order and once', async () => {
    bridge.stop();
    const said = ['one', 'two', 'three'];
    for (const body of said) await ann.send(roomId, body);
    const again = await bridge.begin(server);
    const ping = await again.botClient.doRequest('POST', '/_matrix/client/v1/appservice/mirror/ping', null, {
      transaction_id: 'I am back',
    });
    assert.equal(typeof ping.duration_ms, 'number');
    await bridge.pings.until((body) => body.transaction_id === 'I am back');
    await bridge.messages.until(saying('three'));
    const bodies = bridge.messages.all.map(({ content }) => content.body);
    assert.deepEqual(
      bodies.filter((body) => said.includes(body)),
      said,
    );
    const left = new Promise((resolve) => again.once('room.leave', (id, event) => resolve([id, event.state_key])));
    await again.getIntentForSuffix('joe').leaveRoom(roomId);
    await untilEvent(ann, ({ state_key: key, content }) => key === joe && content.membership === 'leave');
    assert.deepEqual(await left, [roomId, joe]);
  });
});
