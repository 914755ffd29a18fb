import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const RULES = '/_matrix/client/v3/pushrules';

function pathOf(kind: string, ruleId: string): string {
  return `${RULES}/global/${kind}/${encodeURIComponent(ruleId)}`;
}

async function idsOf(who: TestClient, kind: string): Promise<string[]> {
  const rules = expectOk(await who.get(`${RULES}/global/${kind}/`));
  return rules.map((rule: Json) => rule.rule_id);
}

/** Those the user made. */
async function ownIdsOf(who: TestClient, kind: string): Promise<string[]> {
  return (await idsOf(who, kind)).filter((id) => !id.startsWith('.'));
}

function rulesIn(sync: Json): Json[] {
  const events: Json[] = sync.account_data?.events ?? [];
  return events.filter((event) => event.type === 'm.push_rules').map((event) => event.content);
}

test('a new user has the default rules, master above all', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');

  const { global } = expectOk(await ann.get(`${RULES}/`));
  assert.deepEqual(Object.keys(global).sort(), ['content', 'override', 'room', 'sender', 'underride']);
  assert.equal(global.override[0].rule_id, '.m.rule.master');
  assert.equal(global.override[0].enabled, false);
  assert.ok(global.underride.every((rule: Json) => rule.default && rule.enabled));
  assert.deepEqual([global.content, global.room, global.sender], [[], [], []]);
  const forMe = global.override.find((rule: Json) => rule.rule_id === '.m.rule.invite_for_me');
  assert.ok(forMe.conditions.some((condition: Json) => condition.pattern === ann.userId));

  assert.deepEqual(expectOk(await ann.get(`${RULES}/global/`)), global);
  assert.deepEqual(expectOk(await ann.get(pathOf('underride', '.m.rule.message'))).actions, ['notify']);
  const asAccountData = `/_matrix/client/v3/user/${encodeURIComponent(ann.userId)}/account_data/m.push_rules`;
  assert.deepEqual(expectOk(await ann.get(asAccountData)), { global });
  expectError(await ann.put(asAccountData, { global: {} }), 405, 'M_BAD_JSON');
  const bob = await server.register('bob');
  expectError(await bob.get(asAccountData), 403, 'M_FORBIDDEN');
});

test('each kind of rule is kept with what belongs to it, and survives a restart', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const condition = { kind: 'event_match', key: 'content.body', pattern: 'tea' };
  const sound = { set_tweak: 'sound', value: 'kettle.wav' };

  expectOk(await ann.put(pathOf('override', 'tea'), { actions: ['notify', sound], conditions: [condition] }));
  expectOk(await ann.put(pathOf('override', 'everything'), { actions: [] }));
  expectOk(await ann.put(pathOf('content', 'кекс'), { actions: ['notify'], pattern: 'кекс*' }));
  expectOk(await ann.put(pathOf('room', '!kitchen:hearth.test'), { actions: [] }));
  expectOk(await ann.put(pathOf('sender', '@bob:hearth.test'), { actions: ['dont_notify'] }));
  await server.restart();

  const made = { enabled: true, default: false };
  assert.deepEqual(expectOk(await ann.get(pathOf('override', 'tea'))), {
    ...made,
    rule_id: 'tea',
    actions: ['notify', sound],
    conditions: [condition],
  });
  // Sent without conditions, it holds for everything.
  assert.deepEqual(expectOk(await ann.get(pathOf('override', 'everything'))).conditions, []);
  assert.deepEqual(expectOk(await ann.get(pathOf('content', 'кекс'))), {
    ...made,
    rule_id: 'кекс',
    actions: ['notify'],
    pattern: 'кекс*',
  });
  assert.deepEqual(expectOk(await ann.get(pathOf('room', '!kitchen:hearth.test'))), {
    ...made,
    rule_id: '!kitchen:hearth.test',
    actions: [],
  });
  // What no longer means anything is given back as it was set.
  assert.deepEqual(expectOk(await ann.get(`${pathOf('sender', '@bob:hearth.test')}/actions`)), {
    actions: ['dont_notify'],
  });
});

test('a new rule goes on top, or next to the one that is named', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const add = async (id: string, query: Record<string, string> = {}): Promise<void> => {
    expectOk(await ann.put(pathOf('room', id), { actions: [] }, query));
  };
  await add('one');
  await add('two');
  assert.deepEqual(await idsOf(ann, 'room'), ['two', 'one']);
  await add('three', { before: 'one' });
  assert.deepEqual(await idsOf(ann, 'room'), ['two', 'three', 'one']);
  await add('four', { after: 'two' });
  assert.deepEqual(await idsOf(ann, 'room'), ['two', 'four', 'three', 'one']);
  await add('five', { before: 'two', after: 'one' });
  assert.deepEqual(await idsOf(ann, 'room'), ['five', 'two', 'four', 'three', 'one']);

  // One that is there is moved only if a place is named.
  await add('one');
  assert.deepEqual(await idsOf(ann, 'room'), ['five', 'two', 'four', 'three', 'one']);
  await add('one', { after: 'five' });
  assert.deepEqual(await idsOf(ann, 'room'), ['five', 'one', 'two', 'four', 'three']);
  await add('four', { before: 'four' });
  assert.deepEqual(await idsOf(ann, 'room'), ['five', 'one', 'two', 'four', 'three']);

  for (const query of [{ before: 'nowhere' }, { after: 'nowhere' }]) {
    expectError(await ann.put(pathOf('room', 'six'), { actions: [] }, query), 400, 'M_UNKNOWN');
  }
  // Nothing can be placed next to a default rule, and one's own stand above those anyway, save the master.
  const relative = await ann.put(pathOf('underride', 'mine'), { actions: [] }, { after: '.m.rule.message' });
  expectError(relative, 400, 'M_UNKNOWN');
  expectOk(await ann.put(pathOf('override', 'mine'), { actions: [] }));
  assert.deepEqual((await idsOf(ann, 'override')).slice(0, 3), ['.m.rule.master', 'mine', '.m.rule.suppress_notices']);
  assert.deepEqual(await ownIdsOf(ann, 'underride'), []);
});

test('changing a rule keeps whether it is enabled; made anew, it is enabled', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const tea = pathOf('content', 'tea');
  expectOk(await ann.put(tea, { actions: ['notify'], pattern: 'tea' }));
  expectOk(await ann.put(`${tea}/enabled`, { enabled: false }));
  expectOk(await ann.put(tea, { actions: [], pattern: 'green tea' }));
  const changed = expectOk(await ann.get(tea));
  assert.deepEqual([changed.enabled, changed.pattern, changed.actions], [false, 'green tea', []]);

  expectOk(await ann.delete(tea));
  expectError(await ann.get(tea), 404, 'M_NOT_FOUND');
  expectError(await ann.delete(tea), 404, 'M_NOT_FOUND');
  expectOk(await ann.put(tea, { actions: ['notify'], pattern: 'tea' }));
  assert.deepEqual(expectOk(await ann.get(`${tea}/enabled`)), { enabled: true });
});

test('default rules can be disabled and told to do something else, but not removed or replaced', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const message = pathOf('underride', '.m.rule.message');
  expectOk(await ann.put(`${message}/enabled`, { enabled: false }));
  expectOk(await ann.put(`${message}/actions`, { actions: ['notify', { set_tweak: 'highlight' }] }));
  const rule = expectOk(await ann.get(message));
  assert.deepEqual([rule.enabled, rule.default], [false, true]);
  assert.deepEqual(rule.actions, ['notify', { set_tweak: 'highlight' }]);
  const untouched = await server.register('bob');
  assert.deepEqual(expectOk(await untouched.get(`${message}/enabled`)), { enabled: true });

  expectError(await ann.delete(message), 404, 'M_NOT_FOUND');
  expectError(await ann.put(message, { actions: [] }), 400, 'M_INVALID_PARAM');
  // A default rule is only there under its own kind.
  for (const nowhere of [pathOf('override', '.m.rule.message'), pathOf('underride', '.not.a.rule')]) {
    expectError(await ann.put(`${nowhere}/enabled`, { enabled: true }), 404, 'M_NOT_FOUND');
    expectError(await ann.put(`${nowhere}/actions`, { actions: [] }), 404, 'M_NOT_FOUND');
    expectError(await ann.get(nowhere), 404, 'M_NOT_FOUND');
    expectError(await ann.get(`${nowhere}/enabled`), 404, 'M_NOT_FOUND');
  }
  expectError(await ann.put(`${pathOf('room', '!x')}/actions`, { actions: [] }), 404, 'M_NOT_FOUND');
});

test('rules that cannot be are refused, and change nothing', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const { next_batch: since } = await ann.sync();
  const refuse = async (kind: string, id: string, body: Json, errcode: string, status = 400): Promise<void> => {
    expectError(await ann.put(pathOf(kind, id), body), status, errcode);
  };
  await refuse('override', '.mine', { actions: [] }, 'M_INVALID_PARAM');
  await refuse('override', 'a/b', { actions: [] }, 'M_INVALID_PARAM');
  await refuse('override', 'a\\b', { actions: [] }, 'M_INVALID_PARAM');
  await refuse('override', 'x'.repeat(513), { actions: [] }, 'M_INVALID_PARAM');
  await refuse('override', '', { actions: [] }, 'M_INVALID_PARAM');
  await refuse('no_kind', 'x', { actions: [] }, 'M_INVALID_PARAM');
  await refuse('room', '!x', {}, 'M_BAD_JSON');
  await refuse('room', '!x', { actions: 'notify' }, 'M_BAD_JSON');
  await refuse('room', '!x', { actions: ['not_an_action'] }, 'M_BAD_JSON');
  await refuse('room', '!x', { actions: [{ set_tweak: 3 }] }, 'M_BAD_JSON');
  await refuse('room', '!x', { actions: [null] }, 'M_BAD_JSON');
  await refuse('content', 'x', { actions: [] }, 'M_BAD_JSON');
  await refuse('content', 'x', { actions: [], pattern: 7 }, 'M_BAD_JSON');
  await refuse('underride', 'x', { actions: [], conditions: [{}] }, 'M_BAD_JSON');
  await refuse('underride', 'x', { actions: [], conditions: ['all'] }, 'M_BAD_JSON');
  await refuse('content', 'x', { actions: [], pattern: 'x'.repeat(40_000) }, 'M_TOO_LARGE', 413);
  const long = '?'.repeat(513);
  await refuse('content', 'x', { actions: [], pattern: long }, 'M_TOO_LARGE', 413);
  const conditions = [{ kind: 'event_match', key: 'content.body', pattern: long }];
  await refuse('override', 'x', { actions: [], conditions }, 'M_TOO_LARGE', 413);
  const master = pathOf('override', '.m.rule.master');
  expectError(await ann.put(`${master}/enabled`, { enabled: 'yes' }), 400, 'M_BAD_JSON');
  expectError(await ann.put(`${master}/actions`, { actions: ['explode'] }), 400, 'M_BAD_JSON');
  assert.deepEqual(rulesIn(await ann.sync({ since })), []);
});

test('paths beside those of the rules are told from paths that are not there', async () => {
  await using server = await TestServer.start({ config: { allow_guest_access: true } });
  const ann = await server.register('ann');
  expectError(await ann.get(RULES), 404, 'M_UNRECOGNIZED');
  for (const path of ['/global', '/global/room', '/device/room/', '/global/override/.m.rule.master/colour']) {
    expectError(await ann.get(`${RULES}${path}`), 400, 'M_UNRECOGNIZED');
  }
  expectError(await ann.get(`${RULES}/global/weather/`), 400, 'M_INVALID_PARAM');
  expectError(await ann.put(`${RULES}/device/room/!x`, { actions: [] }), 400, 'M_UNRECOGNIZED');
  expectError(await ann.delete(`${RULES}/global/room`), 400, 'M_UNRECOGNIZED');
  expectError(await server.anonymous().get(`${RULES}/`), 401, 'M_MISSING_TOKEN');
  const guest = await server.guest();
  expectError(await guest.get(`${RULES}/`), 403, 'M_GUEST_ACCESS_FORBIDDEN');
});

test('all of a user’s devices hear of changed rules, and nobody else does', async () => {
  await using server = await TestServer.start();
  const phone = await server.register('ann');
  const laptop = await server.login('ann');
  const bob = await server.register('bob');

  const first = await laptop.sync();
  assert.equal(rulesIn(first).length, 1);
  const { next_batch: bobsSince } = await bob.sync();
  assert.deepEqual(rulesIn(await laptop.sync({ since: first.next_batch })), []);

  const waiting = laptop.sync({ since: first.next_batch, timeout: 20_000, filter: { presence: { types: [] } } });
  expectOk(await phone.put(pathOf('sender', '@bob:hearth.test'), { actions: [] }));
  const news = await waiting;
  assert.deepEqual(
    rulesIn(news).map((content) => content.global.sender.map((rule: Json) => rule.rule_id)),
    [['@bob:hearth.test']],
  );
  assert.deepEqual(rulesIn(await laptop.sync({ since: news.next_batch })), []);
  assert.deepEqual(rulesIn(await bob.sync({ since: bobsSince })), []);

  let since = news.next_batch;
  for (const change of [
    () => phone.put(`${pathOf('override', '.m.rule.master')}/enabled`, { enabled: true }),
    () => phone.put(`${pathOf('sender', '@bob:hearth.test')}/actions`, { actions: ['notify'] }),
    () => phone.delete(pathOf('sender', '@bob:hearth.test')),
  ]) {
    expectOk(await change());
    const sync = await laptop.sync({ since });
    assert.equal(rulesIn(sync).length, 1);
    since = sync.next_batch;
  }
});

test('what one set for a room is set for the room that replaces it', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const old = await ann.createRoom({ preset: 'public_chat' });
  const other = await ann.createRoom();
  await bob.join(old);
  const isIn = (room: string): Json => ({ kind: 'event_match', key: 'room_id', pattern: room });
  const isTea = { kind: 'event_match', key: 'content.body', pattern: 'tea' };
  expectOk(await bob.put(pathOf('room', old), { actions: [] }));
  expectOk(await bob.put(pathOf('room', other), { actions: [] }));
  expectOk(await bob.put(pathOf('override', old), { actions: ['notify'], conditions: [isIn(old), isTea] }));
  expectOk(await bob.put(`${pathOf('override', old)}/enabled`, { enabled: false }));
  expectOk(await bob.put(pathOf('override', 'tea'), { actions: [], conditions: [isTea] }));
  expectOk(await bob.put(pathOf('underride', 'calm'), { actions: [], conditions: [isIn(old)] }));
  const { next_batch: since } = await bob.sync();

  const upgrade = `/_matrix/client/v3/rooms/${encodeURIComponent(old)}/upgrade`;
  const { replacement_room: room } = expectOk(await ann.post(upgrade, { new_version: '11' }));
  await bob.join(room);
  assert.deepEqual(await ownIdsOf(bob, 'room'), [other, old, room]);
  assert.deepEqual(await ownIdsOf(bob, 'override'), ['tea', old, room]);
  const copy = expectOk(await bob.get(pathOf('override', room)));
  assert.deepEqual([copy.enabled, copy.actions, copy.conditions], [false, ['notify'], [isIn(room), isTea]]);
  assert.deepEqual(expectOk(await bob.get(pathOf('underride', room))).conditions, [isIn(room)]);
  assert.equal(rulesIn(await bob.sync({ since })).length, 1);
  assert.deepEqual(await ownIdsOf(ann, 'room'), []);
});

test('nobody has more rules than every event can be held against', async () => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  for (let made = 0; made < 2_000; made += 100) {
    const rules = Array.from({ length: 100 }, (_, i) => pathOf('room', `!${made + i}:hearth.test`));
    for (const answer of await Promise.all(rules.map((path) => ann.put(path, { actions: [] })))) expectOk(answer);
  }
  expectError(await ann.put(pathOf('sender', '@bob:hearth.test'), { actions: [] }), 400, 'M_LIMIT_EXCEEDED');
  // Those there are can still be changed, and make room for others.
  expectOk(await ann.put(pathOf('room', '!0:hearth.test'), { actions: ['notify'] }));
  expectOk(await ann.delete(pathOf('room', '!1:hearth.test')));
  expectOk(await ann.put(pathOf('sender', '@bob:hearth.test'), { actions: [] }));
});
