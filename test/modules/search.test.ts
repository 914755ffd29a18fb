import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestNetwork } from '../kit/test-network.ts';
import { TestServer } from '../kit/test-server.ts';

async function search(who: TestClient, term: string, criteria: Json = {}, nextBatch?: string): Promise<Json> {
  const body = { search_categories: { room_events: { search_term: term, ...criteria } } };
  const answer = await who.post('/_matrix/client/v3/search', body, { next_batch: nextBatch });
  return expectOk(answer).search_categories.room_events;
}

/** What was found, as text. */
async function texts(who: TestClient, term: string, criteria: Json = {}): Promise<string[]> {
  const { results } = await search(who, term, criteria);
  return results.map(({ result }: Json) => result.content.body ?? result.content.name ?? result.content.topic);
}

test('what was said, and the names and topics of rooms, can be found', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const roomId = await alice.createRoom({ name: 'Garden plans', topic: 'Tulips and hedges' });
  await alice.send(roomId, 'The tulips are planted');
  const latest = await alice.send(roomId, 'Who waters the TULIPS, and the gàrden?');

  assert.deepEqual(await texts(alice, 'tulips', { order_by: 'recent' }), [
    'Who waters the TULIPS, and the gàrden?',
    'The tulips are planted',
    'Tulips and hedges',
  ]);
  assert.deepEqual(await texts(alice, 'tulips', { keys: ['content.topic'] }), ['Tulips and hedges']);
  assert.deepEqual((await texts(alice, 'garden')).sort(), ['Garden plans', 'Who waters the TULIPS, and the gàrden?']);
  const { count, results, highlights } = await search(alice, 'water tulips');
  assert.equal(count, 1);
  assert.equal(results[0].result.event_id, latest);
  assert.equal(results[0].result.room_id, roomId);
  assert.ok(results[0].rank > 0);
  assert.deepEqual(highlights.sort(), ['TULIPS', 'waters']);
  assert.deepEqual(await texts(alice, 'roses'), []);
});

test('nothing in a search term is syntax but quotes, minus and or', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const roomId = await alice.createRoom();
  for (const body of ['red fox', 'fox red', 'red hen', 'blue hen']) await alice.send(roomId, body);
  const sorted = async (term: string): Promise<string[]> => (await texts(alice, term)).sort();
  assert.deepEqual(await sorted('red fox'), ['fox red', 'red fox']);
  assert.deepEqual(await sorted('"red fox"'), ['red fox']);
  assert.deepEqual(await sorted('hen -red'), ['blue hen']);
  assert.deepEqual(await sorted('fox or blue'), ['blue hen', 'fox red', 'red fox']);
  assert.deepEqual(await sorted('body: red NEAR(fox'), []);
  const odd = [
    '',
    '"',
    '-',
    'or',
    'OR or',
    '*',
    'red*',
    '{body} : red',
    '"red',
    "red' fox",
    '(red)',
    '^red',
    '-red',
    '\0',
  ];
  const found = await Promise.all(odd.map(async (term) => [term, await sorted(term)]));
  const reds = ['fox red', 'red fox', 'red hen'];
  assert.deepEqual(Object.fromEntries(found), {
    '': [],
    '"': [],
    '-': [],
    or: [],
    'OR or': [],
    '*': [],
    'red*': reds,
    '{body} : red': [],
    '"red': reds,
    "red' fox": ['fox red', 'red fox'],
    '(red)': reds,
    '^red': reds,
    '-red': [],
    '\0': [],
  });
});

test('any part of a text can be found in scripts that put no spaces between words', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const roomId = await alice.createRoom();
  await alice.send(roomId, '明日の天気は晴れです');
  await alice.send(roomId, 'Größe und Straße');
  await alice.send(roomId, 'مُحَمَّد كتب الرسالة');
  assert.deepEqual(await texts(alice, '天気'), ['明日の天気は晴れです']);
  assert.deepEqual(await texts(alice, '晴'), ['明日の天気は晴れです']);
  assert.deepEqual(await texts(alice, '気天'), []);
  assert.deepEqual(await texts(alice, 'STRASSE'), ['Größe und Straße']);
  assert.deepEqual(await texts(alice, 'محمد'), ['مُحَمَّد كتب الرسالة']);
  assert.deepEqual((await search(alice, '天気')).highlights, ['天気']);
});

test('edits are found by what they say now, and redacted messages not at all', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const roomId = await alice.createRoom();
  const first = await alice.send(roomId, 'apples');
  assert.deepEqual(await texts(alice, 'apples'), ['apples']);
  const edit = await alice.send(roomId, {
    msgtype: 'm.text',
    body: '* pears',
    'm.new_content': { msgtype: 'm.text', body: 'pears' },
    'm.relates_to': { rel_type: 'm.replace', event_id: first },
  });
  assert.deepEqual(await texts(alice, 'apples'), []);
  const { results } = await search(alice, 'pears');
  assert.deepEqual(
    results.map(({ result }: Json) => [result.event_id, result.unsigned['m.relations']['m.replace'].event_id]),
    [[first, edit]],
  );
  await redact(alice, roomId, edit);
  assert.deepEqual(await texts(alice, 'pears'), []);
  assert.deepEqual(await texts(alice, 'apples'), ['apples']);
  await redact(alice, roomId, first);
  assert.deepEqual(await texts(alice, 'apples'), []);
});

async function redact(who: TestClient, roomId: string, eventId: string): Promise<void> {
  expectOk(await who.put(`/_matrix/client/v3/rooms/${roomId}/redact/${eventId}/r${eventId.slice(1, 9)}`));
}

test('nobody finds what they may not see', async () => {
  await using server = await TestServer.start();
  const [alice, bob, carol] = [
    await server.register('alice'),
    await server.register('bob'),
    await server.register('carol'),
  ];
  const roomId = await alice.createRoom({
    preset: 'public_chat',
    initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'joined' } }],
  });
  await alice.send(roomId, 'secret one');
  await bob.join(roomId);
  await alice.send(roomId, 'secret two');
  await bob.leave(roomId);
  await alice.send(roomId, 'secret three');
  assert.deepEqual((await texts(alice, 'secret')).length, 3);
  assert.deepEqual(await texts(bob, 'secret'), ['secret two']);
  assert.deepEqual(await texts(carol, 'secret'), []);
  assert.deepEqual(await texts(carol, 'secret', { filter: { rooms: [roomId] } }), []);

  expectOk(await bob.post(`/_matrix/client/v3/rooms/${roomId}/forget`));
  assert.deepEqual(await texts(bob, 'secret'), []);

  const open = await alice.createRoom({
    preset: 'public_chat',
    initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'world_readable' } }],
  });
  await alice.send(open, 'no secret');
  assert.deepEqual(await texts(carol, 'secret'), []);

  const ignoring = await bob.createRoom({ preset: 'public_chat' });
  await alice.join(ignoring);
  await alice.send(ignoring, 'noise');
  assert.deepEqual(await texts(bob, 'noise'), ['noise']);
  const list = { ignored_users: { [alice.userId]: {} } };
  expectOk(await bob.put(`/_matrix/client/v3/user/${bob.userId}/account_data/m.ignored_user_list`, list));
  assert.deepEqual(await texts(bob, 'noise'), []);
});

test('an edit that came after somebody left does not tell them what it says', async () => {
  await using server = await TestServer.start();
  const [alice, bob] = [await server.register('alice'), await server.register('bob')];
  const roomId = await alice.createRoom({
    preset: 'public_chat',
    initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'joined' } }],
  });
  await bob.join(roomId);
  const first = await alice.send(roomId, 'draft');
  await bob.leave(roomId);
  await alice.send(roomId, {
    msgtype: 'm.text',
    body: '* password swordfish',
    'm.new_content': { msgtype: 'm.text', body: 'password swordfish' },
    'm.relates_to': { rel_type: 'm.replace', event_id: first },
  });
  assert.equal((await search(alice, 'swordfish')).count, 1);
  assert.deepEqual(await texts(bob, 'swordfish'), []);
});

test('rooms that are encrypted are not searched', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const roomId = await alice.createRoom({ name: 'Plans' });
  await alice.send(roomId, 'plain words');
  assert.deepEqual(await texts(alice, 'plain'), ['plain words']);
  await alice.setState(roomId, 'm.room.encryption', { algorithm: 'm.megolm.v1.aes-sha2' });
  assert.deepEqual(await texts(alice, 'plain'), []);
  assert.deepEqual(await texts(alice, 'plans'), []);
});

test('who searches in an upgraded room searches in what it was before, too', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const before = await alice.createRoom();
  await alice.send(before, 'hello before');
  const upgraded = await alice.post(`/_matrix/client/v3/rooms/${before}/upgrade`, { new_version: '11' });
  const after = expectOk(upgraded).replacement_room;
  await alice.send(after, 'hello after');
  const other = await alice.createRoom();
  await alice.send(other, 'hello elsewhere');
  const found = await texts(alice, 'hello', { filter: { rooms: [after] }, order_by: 'recent' });
  assert.deepEqual(found, ['hello after', 'hello before']);
  assert.deepEqual(await texts(alice, 'hello', { filter: { rooms: [before] } }), ['hello before']);
  assert.deepEqual(await texts(alice, 'hello', { filter: { not_rooms: [before, after] } }), ['hello elsewhere']);
  assert.deepEqual(await texts(alice, 'hello', { filter: { rooms: [] } }), []);
});

test('a filter narrows what is found', async () => {
  await using server = await TestServer.start();
  const [alice, bob] = [await server.register('alice'), await server.register('bob')];
  const roomId = await alice.createRoom({ preset: 'public_chat', name: 'Cat pictures' });
  await bob.join(roomId);
  await alice.send(roomId, { msgtype: 'm.image', body: 'cat.png', url: 'mxc://hearth.test/cat' });
  await bob.send(roomId, 'what a cat');
  const found = async (filter: Json): Promise<string[]> => texts(alice, 'cat', { filter, order_by: 'recent' });
  assert.deepEqual(await found({ contains_url: true }), ['cat.png']);
  assert.deepEqual(await found({ contains_url: false }), ['what a cat', 'Cat pictures']);
  assert.deepEqual(await found({ senders: [bob.userId] }), ['what a cat']);
  assert.deepEqual(await found({ not_senders: [bob.userId] }), ['cat.png', 'Cat pictures']);
  assert.deepEqual(await found({ types: ['m.room.name'] }), ['Cat pictures']);
  assert.deepEqual(await found({ not_types: ['m.room.*'] }), []);
  assert.deepEqual(await found({ limit: 1 }), ['what a cat']);
});

test('results come in batches by time, and with what was said around them', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice', {});
  expectOk(await alice.put(`/_matrix/client/v3/profile/${alice.userId}/displayname`, { displayname: 'Alice A' }));
  const roomId = await alice.createRoom();
  const sent: string[] = [];
  for (let n = 0; n < 25; n += 1) sent.push(await alice.send(roomId, `number ${n}`));
  const asked = { order_by: 'recent', filter: { limit: 10 } };
  const pages: string[][] = [];
  const counts: number[] = [];
  let next: string | undefined;
  do {
    const page = await search(alice, 'number', asked, next);
    pages.push(page.results.map(({ result }: Json) => result.event_id));
    counts.push(page.count);
    next = page.next_batch;
  } while (next !== undefined);
  assert.deepEqual(pages, [sent.slice(15).reverse(), sent.slice(5, 15).reverse(), sent.slice(0, 5).reverse()]);
  assert.deepEqual(counts, [25, 25, 25]);

  const context = { before_limit: 2, after_limit: 1, include_profile: true };
  const [found] = (await search(alice, '"number 7"', { event_context: context })).results;
  assert.deepEqual(
    [found.context.events_before, found.context.events_after].map((list: Json) =>
      list.map((one: Json) => one.event_id),
    ),
    [[sent[6], sent[5]], [sent[8]]],
  );
  assert.deepEqual(found.context.profile_info, { [alice.userId]: { displayname: 'Alice A' } });
  const back = await alice.get(`/_matrix/client/v3/rooms/${roomId}/messages`, {
    dir: 'b',
    from: found.context.start,
    limit: 1,
  });
  assert.equal(expectOk(back).chunk[0].event_id, sent[4]);
  const forth = await alice.get(`/_matrix/client/v3/rooms/${roomId}/messages`, {
    dir: 'f',
    from: found.context.end,
    limit: 1,
  });
  assert.equal(expectOk(forth).chunk[0].event_id, sent[9]);
  assert.equal((await search(alice, '"number 7"')).results[0].context, undefined);

  const { state } = await search(alice, 'number', { include_state: true });
  assert.ok(state[roomId].some((event: Json) => event.type === 'm.room.create'));
});

test('the best matches come first, and stay in order while more is said', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const roomId = await alice.createRoom();
  const best = await alice.send(roomId, 'tea tea');
  const good = await alice.send(roomId, 'some tea');
  const poor = await alice.send(roomId, `there was also tea in ${'a very '.repeat(20)} long story`);
  const poorest = await alice.send(roomId, `teapots have ${'a very '.repeat(20)} long story`);
  const first = await search(alice, 'tea', { filter: { limit: 2 } });
  assert.deepEqual(
    first.results.map(({ result }: Json) => result.event_id),
    [best, good],
  );
  await alice.send(roomId, 'tea tea tea');
  const second = await search(alice, 'tea', { filter: { limit: 2 } }, first.next_batch);
  assert.deepEqual(
    second.results.map(({ result }: Json) => result.event_id),
    [poor, poorest],
  );
  assert.equal(second.next_batch, undefined);
  const ranks = [...first.results, ...second.results].map(({ rank }: Json) => rank);
  assert.deepEqual(
    ranks,
    ranks.toSorted((a, b) => b - a),
  );
});

for (const order of ['recent', 'rank']) {
  test(`results are grouped by room and sender, and a group has batches of its own, by ${order}`, async () => {
    await using server = await TestServer.start();
    const [alice, bob] = [await server.register('alice'), await server.register('bob')];
    const [attic, cellar] = [await alice.createRoom({ preset: 'public_chat' }), await alice.createRoom()];
    await bob.join(attic);
    const inAttic: string[] = [];
    const inCellar: string[] = [];
    for (let n = 0; n < 3; n += 1) {
      inAttic.unshift(await bob.send(attic, 'box'));
      inCellar.unshift(await alice.send(cellar, 'box'));
    }
    const criteria = {
      order_by: order,
      filter: { limit: 2 },
      groupings: { group_by: [{ key: 'room_id' }, { key: 'sender' }] },
    };
    const { groups } = await search(alice, 'box', criteria);
    assert.deepEqual(groups.room_id[cellar].results, inCellar.slice(0, 1));
    assert.deepEqual(groups.room_id[attic].results, inAttic.slice(0, 1));
    assert.deepEqual(groups.sender[bob.userId].results, inAttic.slice(0, 1));
    assert.ok(groups.room_id[cellar].order < groups.room_id[attic].order);
    const more = await search(alice, 'box', criteria, groups.room_id[attic].next_batch);
    assert.deepEqual(Object.keys(more.groups.room_id), [attic]);
    assert.deepEqual(more.groups.room_id[attic].results, inAttic.slice(1));
    assert.equal(more.groups.room_id[attic].next_batch, undefined);
    assert.equal(more.next_batch, undefined);
    const ofBob = await search(alice, 'box', criteria, groups.sender[bob.userId].next_batch);
    assert.deepEqual(
      ofBob.results.map(({ result }: Json) => result.event_id),
      inAttic.slice(1),
    );
  });
}

test('a search that makes no sense is refused', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const post = async (roomEvents: Json, nextBatch?: string) =>
    alice.post(
      '/_matrix/client/v3/search',
      { search_categories: { room_events: roomEvents } },
      { next_batch: nextBatch },
    );
  expectError(await post({}), 400, 'M_BAD_JSON');
  expectError(await post({ search_term: 7 }), 400, 'M_BAD_JSON');
  expectError(await post({ search_term: 'x', keys: ['content.url'] }), 400, 'M_BAD_JSON');
  expectError(await post({ search_term: 'x', order_by: 'size' }), 400, 'M_BAD_JSON');
  expectError(await post({ search_term: 'x', groupings: { group_by: [{ key: 'type' }] } }), 400, 'M_BAD_JSON');
  expectError(await post({ search_term: 'x' }, 'x'), 400, 'M_INVALID_PARAM');
  expectError(await alice.post('/_matrix/client/v3/search', {}), 400, 'M_BAD_JSON');
  expectError(await server.anonymous().post('/_matrix/client/v3/search', {}), 401, 'M_MISSING_TOKEN');
  assert.deepEqual(expectOk(await alice.post('/_matrix/client/v3/search', { search_categories: {} })), {
    search_categories: {},
  });
});

test('without an index there is no search; with it again all that was said can be found', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const roomId = await alice.createRoom();
  await alice.send(roomId, 'first words');
  assert.deepEqual(await texts(alice, 'words'), ['first words']);
  await server.restart({ enable_search: false });
  await alice.send(roomId, 'second words');
  const body = { search_categories: { room_events: { search_term: 'words' } } };
  expectError(await alice.post('/_matrix/client/v3/search', body), 400, 'M_UNKNOWN');
  await server.restart({ enable_search: true });
  let found: string[] = [];
  // What was said before the server started is indexed by and by.
  for (let tries = 0; tries < 100 && found.length < 2; tries += 1)
    found = await texts(alice, 'words', { order_by: 'recent' });
  assert.deepEqual(found, ['second words', 'first words']);
});

test('what was said just before the server stopped is found after it started again', async () => {
  await using server = await TestServer.start();
  const alice = await server.register('alice');
  const roomId = await alice.createRoom();
  await alice.setState(roomId, 'm.room.topic', {
    topic: 'Lanterns',
    'm.topic': { 'm.text': [{ mimetype: 'text/html', body: '<b>glow</b>' }, { body: 'Lamps and candles' }] },
  });
  // More than is taken into the index at once: the end comes in between.
  for (let n = 0; n < 15; n += 1) {
    await Promise.all(Array.from({ length: 20 }, (_, at) => alice.send(roomId, `lantern ${n} ${at}`)));
  }
  await alice.send(roomId, 'the last lantern');
  await server.restart();
  const found = await search(alice, 'lantern', { order_by: 'recent', filter: { limit: 100 } });
  assert.equal(found.count, 302);
  assert.equal(found.results[0].result.content.body, 'the last lantern');
  assert.deepEqual(await texts(alice, 'candles'), ['Lanterns']);
  assert.deepEqual(await texts(alice, 'glow'), []);
});

test('history that another server tells is found once it is here', async () => {
  await using house = await TestNetwork.start(['one.test', 'two.test']);
  const [one, two] = house.servers;
  const [alice, bob] = [await one.register('alice'), await two.register('bob')];
  const roomId = await alice.createRoom({ preset: 'public_chat', room_alias_name: 'attic' });
  await alice.send(roomId, 'a chest from long ago');
  const redacted = await alice.send(roomId, 'a chest to be forgotten');
  await redact(alice, roomId, redacted);
  await bob.join('#attic:one.test');
  await alice.send(roomId, 'a chest from today');
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/messages`;
  let here: string[] = [];
  while (here.length < 2) {
    const { chunk } = expectOk(await bob.get(path, { dir: 'b', limit: 50 }));
    here = chunk.flatMap(({ content }: Json) => content.body ?? []);
  }
  assert.deepEqual(await texts(bob, 'chest', { order_by: 'recent' }), ['a chest from today', 'a chest from long ago']);
});

test('the state of a room that was left is what it was then', async () => {
  await using server = await TestServer.start();
  const [alice, bob] = [await server.register('alice'), await server.register('bob')];
  const roomId = await alice.createRoom({ preset: 'public_chat', name: 'Before' });
  await bob.join(roomId);
  await alice.send(roomId, 'farewell');
  await bob.leave(roomId);
  await alice.setState(roomId, 'm.room.name', { name: 'After' });
  const { state } = await search(bob, 'farewell', { include_state: true });
  const name = state[roomId].find((event: Json) => event.type === 'm.room.name');
  assert.equal(name.content.name, 'Before');
});
