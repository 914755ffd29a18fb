import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { isServerName, type RoomId } from '../../server/matrix/identifiers.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import { alice, draft, type Household, household } from './room-kit.ts';

async function allowed(home: Household, roomId: RoomId, servers: readonly string[]): Promise<string[]> {
  return servers.filter((server) => {
    assert(isServerName(server), server);
    return home.rooms.acls.isAllowed(server, roomId);
  });
}

async function roomWith(t: TestContext, content?: JsonObject): Promise<{ home: Household; roomId: RoomId }> {
  const home = household(t);
  const roomId = await home.createRoom();
  if (content !== undefined) await home.send(roomId, draft.state(alice, 'm.room.server_acl', content));
  return { home, roomId };
}

test('a room without a list is open to all, and so is one that nobody knows', async (t) => {
  const { home, roomId } = await roomWith(t);
  const servers = ['good.test', '1.2.3.4', '[::1]:8448'];
  assert.deepEqual(await allowed(home, roomId, servers), servers);
  assert.deepEqual(await allowed(home, '!nowhere:good.test' as RoomId, servers), servers);
});

test('who is denied is out even if they are allowed, and who is not allowed is out as well', async (t) => {
  const { home, roomId } = await roomWith(t, {
    allow: ['*.test', 'exact.example', 'one?.example'],
    deny: ['evil.test', '*.evil.test'],
  });
  assert.deepEqual(
    await allowed(home, roomId, [
      'good.test',
      'evil.test',
      'sub.evil.test',
      'notevil.test',
      'exact.example',
      'sub.exact.example',
      'one1.example',
      'one12.example',
      'other.example',
    ]),
    ['good.test', 'notevil.test', 'exact.example', 'one1.example'],
  );
});

test('neither a port nor the case of letters gets anybody around the list', async (t) => {
  const { home, roomId } = await roomWith(t, { allow: ['*'], deny: ['Evil.Test', '[2001:DB8::1]'] });
  assert.deepEqual(
    await allowed(home, roomId, [
      'evil.test',
      'EVIL.test',
      'evil.test:8448',
      'eViL.tEsT:1',
      '[2001:db8::1]:99',
      'good.test:80',
    ]),
    ['good.test:80'],
  );
});

test('servers without a name of their own can be kept out together', async (t) => {
  const literals = ['1.2.3.4', '1.2.3.4:8448', '[::1]', '[2001:db8::2]:8448'];
  for (const [content, open] of [
    [{ allow: ['*'], allow_ip_literals: false }, []],
    [{ allow: ['*'], allow_ip_literals: true }, literals],
    [{ allow: ['*'], allow_ip_literals: 'no' }, literals],
    [{ allow: ['*'] }, literals],
  ] as const) {
    const { home, roomId } = await roomWith(t, content);
    assert.deepEqual(await allowed(home, roomId, [...literals, '1.2.3.4.example']), [...open, '1.2.3.4.example']);
  }
});

test('a list that allows nobody, or is none, shuts everybody out', async (t) => {
  for (const content of [{}, { allow: [] }, { allow: 'everybody' }, { allow: [7, null, {}] }, { deny: ['*'] }]) {
    const { home, roomId } = await roomWith(t, content);
    assert.deepEqual(await allowed(home, roomId, ['good.test', '1.2.3.4']), []);
  }
});

test('the newest list counts, and a redacted one says nothing', async (t) => {
  const { home, roomId } = await roomWith(t, { allow: ['*'], deny: ['evil.test'] });
  assert.deepEqual(await allowed(home, roomId, ['evil.test', 'good.test']), ['good.test']);
  const list = await home.send(roomId, draft.state(alice, 'm.room.server_acl', { allow: ['evil.test'] }));
  assert.deepEqual(await allowed(home, roomId, ['evil.test', 'good.test']), ['evil.test']);
  await home.send(roomId, draft.redaction(alice, list.eventId));
  assert.deepEqual(await allowed(home, roomId, ['evil.test', 'good.test']), []);
});

test('a pattern made to take long takes no time worth speaking of', async (t) => {
  const { home, roomId } = await roomWith(t, { allow: [`${'*a'.repeat(100)}b`, '*good*'] });
  assert.deepEqual(await allowed(home, roomId, [`${'a'.repeat(200)}.test`, 'good.test']), ['good.test']);
});
