import assert from 'node:assert/strict';
import { expectError, expectOk, type Json } from '../kit/test-client.ts';
import { eventually } from '../kit/test-network.ts';
import { joinVia, makePair, path, seesMembership } from './pair.ts';

const story = makePair(import.meta.filename);

story('the rooms a server shows to everybody are found from the other', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const names = [1, 2, 3].map((index) => `Market ${tag} ${index}`);
  for (const name of names)
    await alice.createRoom({ preset: 'public_chat', visibility: 'public', name, topic: 'trade' });
  await alice.createRoom({ preset: 'private_chat', name: `Market ${tag} hidden` });
  const ownList = async (): Promise<Json[]> =>
    expectOk(await alice.get('/_matrix/client/v3/publicRooms')).chunk.map((room: Json) => room.name);
  // A server may take a moment until a new room is in its list.
  await eventually('the list at home', async () => {
    const listed = await ownList();
    return names.every((name) => listed.includes(name));
  });
  const body = { filter: { generic_search_term: `market ${tag}` }, limit: 2 };
  const seen: string[] = [];
  let since: string | undefined;
  do {
    const page: Json = expectOk(
      await bob.post(
        '/_matrix/client/v3/publicRooms',
        { ...body, ...(since === undefined ? {} : { since }) },
        { server: home.serverName },
      ),
    );
    seen.push(...page.chunk.map((room: Json) => room.name));
    since = page.next_batch;
  } while (since !== undefined);
  assert.deepEqual(seen.sort(), names);
  const all = expectOk(await bob.get('/_matrix/client/v3/publicRooms', { server: home.serverName }));
  const room = all.chunk.find((each: Json) => each.name === names[0]);
  assert.deepEqual(
    { topic: room.topic, members: room.num_joined_members, rule: room.join_rule, readable: room.world_readable },
    { topic: 'trade', members: 1, rule: 'public', readable: false },
  );
});

story('an alias leads to its room from the other server', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({ preset: 'public_chat', room_alias_name: `spot-${tag}` });
  const alias = `#spot-${tag}:${home.serverName}`;
  const found = expectOk(await bob.get(path`/directory/room/${alias}`));
  assert.equal(found.room_id, roomId);
  assert.deepEqual(found.servers, [home.serverName]);
  expectError(await bob.get(path`/directory/room/${`#nowhere:${home.serverName}`}`), 404, 'M_NOT_FOUND');
});

story('a space and its rooms are looked at from outside', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const open = await alice.createRoom({ preset: 'public_chat', name: 'Open', topic: 'for all' });
  const closed = await alice.createRoom({ preset: 'private_chat', name: 'Closed' });
  const space = async (name: string, children: readonly string[]): Promise<string> =>
    await alice.createRoom({
      preset: 'public_chat',
      name,
      creation_content: { type: 'm.space' },
      initial_state: children.map((state_key) => ({
        type: 'm.space.child',
        state_key,
        content: { via: [home.serverName], suggested: state_key === open },
      })),
    });
  const inner = await space('Inner', [open]);
  const outer = await space('Outer', [inner, closed]);
  await joinVia(bob, outer, home);
  const look = async (query: Readonly<Record<string, number | boolean>> = {}): Promise<Json[]> =>
    expectOk(await bob.get(`/_matrix/client/v1/rooms/${encodeURIComponent(outer)}/hierarchy`, query)).rooms;
  const rooms = await look();
  assert.deepEqual(
    rooms.map((room) => room.name),
    ['Outer', 'Inner', 'Open'],
  );
  const [, , leaf] = rooms;
  assert.deepEqual(
    { topic: leaf.topic, rule: leaf.join_rule, id: leaf.room_id },
    { topic: 'for all', rule: 'public', id: open },
  );
  assert.equal(rooms[1].children_state[0].state_key, open);
  assert.deepEqual(
    (await look({ max_depth: 1 })).map((room) => room.name),
    ['Outer', 'Inner'],
  );
  const summary = expectOk(
    await bob.get(`/_matrix/client/v1/room_summary/${encodeURIComponent(open)}`, { via: home.serverName }),
  );
  assert.equal(summary.name, 'Open');
});

story('each server gives out its keys, also for the other', async ({ home, away }) => {
  const { server_keys: seen } = await federation(home, `/_matrix/key/v2/query/${encodeURIComponent(away.serverName)}`);
  const own = await federation(away, '/_matrix/key/v2/server');
  assert.equal(own.server_name, away.serverName);
  assert.deepEqual(seen[0].verify_keys, own.verify_keys);
  // Whoever vouches for somebody's keys signs what they signed.
  assert.deepEqual(Object.keys(seen[0].signatures).sort(), [home.serverName, away.serverName].sort());
  const version = await federation(home, '/_matrix/federation/v1/version');
  assert.equal(version.server.name, home.kind);
});

story('devices and their names are known on the other server', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`, { initial_device_display_name: 'Alice’s lamp' });
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  await joinVia(bob, roomId, home);
  await seesMembership(alice, roomId, bob.userId, 'join');
  const keys = {
    user_id: alice.userId,
    device_id: alice.deviceId,
    algorithms: ['m.olm.v1.curve25519-aes-sha2', 'm.megolm.v1.aes-sha2'],
    keys: {
      [`curve25519:${alice.deviceId}`]: 'wjLpTLRqbqBzLs63aYaEv2Boi6cFEbbM/sSRQ2oAKk4',
      [`ed25519:${alice.deviceId}`]: 'nE6W2fCblxDcOFmeEtCHNl8/l8bXcu7GKyAswA4r3mM',
    },
    signatures: { [alice.userId]: { [`ed25519:${alice.deviceId}`]: 'c2lnbmF0dXJl' } },
  };
  expectOk(await alice.post('/_matrix/client/v3/keys/upload', { device_keys: keys }));
  const found = await eventually('Alice’s device', async () => {
    const answer = expectOk(await bob.post('/_matrix/client/v3/keys/query', { device_keys: { [alice.userId]: [] } }));
    const device = answer.device_keys[alice.userId]?.[alice.deviceId];
    // Names may come a moment later than keys.
    return device?.unsigned?.device_display_name === 'Alice’s lamp' ? device : undefined;
  });
  assert.deepEqual(found.keys, keys.keys);
});

/** What a server tells everybody who asks it as a server would, without a signature. */
async function federation(server: Json, wanted: string): Promise<Json> {
  const { promise, resolve, reject } = Promise.withResolvers<Json>();
  const { request } = await import('node:https');
  request({ host: '127.0.0.1', port: server.federationPort, path: wanted, rejectUnauthorized: false }, (answer) => {
    let text = '';
    answer.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    answer.once('end', () => {
      if (answer.statusCode === 200) resolve(JSON.parse(text));
      else reject(new Error(`${wanted}: ${answer.statusCode} ${text}`));
    });
  })
    .once('error', reject)
    .end();
  return await promise;
}
