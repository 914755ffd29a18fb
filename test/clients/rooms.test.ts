import './quiet-sdk.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventType, JoinRule, MatrixError, MsgType, Preset, RoomType, type SearchResult } from 'matrix-js-sdk';
import { RoomHierarchy } from 'matrix-js-sdk/lib/room-hierarchy.js';
import sharp from 'sharp';
import { TestServer } from '../kit/test-server.ts';
import { People, type Person, together } from './person.ts';

const MESSAGE = 'm.room.message';

function text(body: string): object {
  return { msgtype: 'm.text', body };
}

/** Fetches what an mxc address stands for as clients do, with the token or without. */
async function download(
  person: Person,
  mxc: string,
  options: { readonly width?: number; readonly height?: number; readonly anonymous?: boolean } = {},
): Promise<Response> {
  const { width, height, anonymous = false } = options;
  const method = width === undefined ? undefined : 'crop';
  const url = person.client.mxcUrlToHttp(mxc, width, height, method, false, true, true);
  assert.ok(url !== null);
  return await fetch(url, {
    headers: anonymous ? {} : { authorization: `Bearer ${person.client.getAccessToken()}` },
  });
}

test("Bob sees Ann's picture, small and whole, and her portrait beside what she says", async () => {
  await using server = await TestServer.start({ config: { max_upload_size: '300K' } });
  using people = new People(server);
  const [ann, bob] = [await people.register('ann'), await people.register('bob')];
  const roomId = await together(ann, [bob]);
  const picture = await sharp({ create: { width: 400, height: 300, channels: 3, background: 'teal' } })
    .png()
    .toBuffer();

  const { 'm.upload.size': limit } = await ann.client.getMediaConfig(true);
  assert.equal(limit, 300 * 1024);
  await assert.rejects(
    ann.client.uploadContent(new Blob([Buffer.alloc(limit + 1)]), { type: 'image/png' }),
    (error) => error instanceof MatrixError && error.errcode === 'M_TOO_LARGE' && error.httpStatus === 413,
  );
  const { content_uri: mxc } = await ann.client.uploadContent(new Blob([picture]), {
    name: 'Meer bei Rügen.png',
    type: 'image/png',
  });
  const sent = await ann.send(roomId, MESSAGE, { msgtype: MsgType.Image, body: 'the sea', url: mxc });

  const event = await bob.until('the picture', () => bob.room(roomId).findEventById(sent));
  const url = String(event.getContent()['url']);
  const whole = await download(bob, url);
  assert.equal(whole.status, 200);
  assert.equal(whole.headers.get('content-type'), 'image/png');
  assert.match(
    whole.headers.get('content-disposition') ?? '',
    /^inline; filename\*=utf-8''Meer%20bei%20R%C3%BCgen\.png$/i,
  );
  assert.deepEqual(Buffer.from(await whole.arrayBuffer()), picture);
  const small = await download(bob, url, { width: 96, height: 96 });
  assert.equal(small.status, 200);
  const { width, height } = await sharp(await small.arrayBuffer()).metadata();
  assert.deepEqual([width, height], [96, 96]);
  for (const size of [{}, { width: 96, height: 96 }]) {
    const refused = await download(bob, url, { ...size, anonymous: true });
    assert.equal(refused.status, 401);
    assert.equal(((await refused.json()) as { errcode: string }).errcode, 'M_MISSING_TOKEN');
  }
  const old = await fetch(bob.client.mxcUrlToHttp(url) ?? '');
  assert.equal(old.status, 404, 'addresses from before downloads took a token lead nowhere');
  await old.body?.cancel();

  await ann.client.setAvatarUrl(mxc);
  await ann.client.setDisplayName('Ann of the Sea');
  const member = await bob.until('her name and portrait', () => {
    const found = bob.room(roomId).getMember(ann.userId);
    return found?.getMxcAvatarUrl() === mxc && found.name === 'Ann of the Sea' && found;
  });
  assert.equal((await download(bob, member.getMxcAvatarUrl() ?? '')).status, 200);
});

function found(results: readonly SearchResult[]): string[] {
  return results.map(({ context }) => String(context.getEvent().getContent()['body']));
}

test('Ann finds what was said, page by page, and only where she is', async () => {
  await using server = await TestServer.start();
  using people = new People(server);
  const [ann, bob, eve] = [await people.register('ann'), await people.register('bob'), await people.register('eve')];
  const harbour = await together(ann, [bob]);
  const hills = await together(bob, [ann]);
  const elsewhere = await together(bob, [eve]);
  const expected: string[] = [];
  for (let number = 1; number <= 13; number += 1) {
    await ann.send(harbour, MESSAGE, text(`ship ${number}`));
    await bob.send(harbour, MESSAGE, text(`the lighthouse shows ${number}`));
    expected.unshift(`the lighthouse shows ${number}`);
  }
  await bob.send(elsewhere, MESSAGE, text('the lighthouse is a secret'));
  await bob.send(hills, MESSAGE, text('No Lighthouse up here'));
  expected.unshift('No Lighthouse up here');

  let results = await ann.client.searchRoomEvents({ term: 'lighthouse' });
  assert.equal(results.count, 14);
  assert.deepEqual(found(results.results), expected.slice(0, 10));
  assert.ok(results.highlights.includes('lighthouse'));
  const [, newest] = results.results;
  assert.deepEqual(
    newest?.context.getTimeline().map((event) => event.getContent()['body']),
    ['ship 13', 'the lighthouse shows 13'],
    'with what was said around it',
  );
  results = await ann.client.backPaginateRoomEventsSearch(results);
  assert.deepEqual(found(results.results), expected);
  assert.equal(results.next_batch, undefined);

  const here = { rooms: [harbour], senders: [bob.userId] };
  results = await ann.client.searchRoomEvents({ term: 'lighthouse 7', filter: here });
  assert.deepEqual(found(results.results), ['the lighthouse shows 7']);
  results = await ann.client.searchRoomEvents({ term: 'lighthouse', filter: { senders: [ann.userId] } });
  assert.deepEqual(found(results.results), []);
  assert.deepEqual(found((await eve.client.searchRoomEvents({ term: 'lighthouse' })).results), [
    'the lighthouse is a secret',
  ]);

  const [seven] = (await ann.client.searchRoomEvents({ term: 'shows 7', filter: here })).results;
  await bob.client.redactEvent(harbour, seven?.context.getEvent().getId() ?? '');
  const after = await ann.client.searchMessageText({ query: 'lighthouse', keys: ['content.body'] });
  assert.equal(after.search_categories.room_events.count, 13);
});

test('Ann makes a space for the family, and Bob finds his way through it', async () => {
  await using server = await TestServer.start();
  using people = new People(server);
  const [ann, bob] = [await people.register('ann'), await people.register('bob')];
  const via = [server.serverName];
  const make = async (
    name: string,
    options: { readonly type?: RoomType; readonly preset?: Preset; readonly under?: string } = {},
  ): Promise<string> => {
    const { type, preset = Preset.PrivateChat, under } = options;
    const { room_id: id } = await ann.client.createRoom({
      name,
      preset,
      ...(type === undefined ? {} : { creation_content: { type } }),
      initial_state:
        under === undefined
          ? []
          : [
              {
                type: EventType.RoomJoinRules,
                content: {
                  join_rule: JoinRule.Restricted,
                  allow: [{ type: 'm.room_membership', room_id: under }],
                },
              },
              { type: EventType.SpaceParent, state_key: under, content: { via, canonical: true } },
            ],
    });
    return id;
  };
  const put = async (space: string, child: string, content: object = {}): Promise<void> => {
    await ann.client.sendStateEvent(space, EventType.SpaceChild, { via, ...content }, child);
  };
  const names = (hierarchy: RoomHierarchy): (string | undefined)[] => (hierarchy.rooms ?? []).map(({ name }) => name);
  const walk = async (
    person: Person,
    root: string,
    pageSize?: number,
    maxDepth?: number,
    suggestedOnly?: boolean,
  ): Promise<RoomHierarchy> => {
    const hierarchy = new RoomHierarchy(person.room(root), pageSize, maxDepth, suggestedOnly);
    while (hierarchy.canLoadMore) await hierarchy.load();
    assert.ok(!hierarchy.noSupport);
    return hierarchy;
  };

  const family = await make('Family', { type: RoomType.Space });
  const kitchen = await make('Kitchen', { under: family });
  const presents = await make('Presents');
  const square = await make('Square', { preset: Preset.PublicChat });
  const garden = await make('Garden', { type: RoomType.Space, under: family });
  const shed = await make('Shed', { under: garden });
  await put(family, square, { order: 'c' });
  await put(family, kitchen, { order: 'a', suggested: true });
  await put(family, presents, { order: 'd' });
  await put(family, garden, { order: 'b' });
  await put(garden, shed);
  await ann.until('the space', () => ann.client.getRoom(family)?.isSpaceRoom());
  const all = await walk(ann, family, 2);
  assert.deepEqual(names(all), ['Family', 'Kitchen', 'Garden', 'Shed', 'Square', 'Presents']);
  assert.equal(all.rooms?.find(({ name }) => name === 'Garden')?.room_type, RoomType.Space);
  assert.deepEqual([...(all.viaMap.get(shed) ?? [])], via);
  assert.equal(all.isSuggested(family, kitchen), true);
  assert.deepEqual(names(await walk(ann, family, 10, 1)), ['Family', 'Kitchen', 'Garden', 'Square', 'Presents']);
  assert.deepEqual(names(await walk(ann, family, 10, undefined, true)), ['Family', 'Kitchen']);

  // Bob is not of the family yet.
  await assert.rejects(bob.client.getRoomHierarchy(family), { errcode: 'M_FORBIDDEN' });
  await assert.rejects(bob.client.joinRoom(kitchen, { viaServers: via }), { errcode: 'M_FORBIDDEN' });
  await ann.client.invite(family, bob.userId);
  await bob.until('the invitation', () => bob.client.getRoom(family)?.getMyMembership() === 'invite');
  await bob.client.joinRoom(family);
  await bob.until('the space', () => bob.client.getRoom(family)?.getMyMembership() === 'join');
  // Of the shed he may know when he is in the garden.
  assert.deepEqual(names(await walk(bob, family)), ['Family', 'Kitchen', 'Garden', 'Square']);
  const summary = await bob.client.getRoomSummary(kitchen, via);
  assert.equal(summary.name, 'Kitchen');
  assert.equal(summary.join_rule, JoinRule.Restricted);
  await bob.client.joinRoom(garden, { viaServers: via });
  assert.deepEqual(names(await walk(bob, family)), ['Family', 'Kitchen', 'Garden', 'Shed', 'Square']);
  await bob.client.joinRoom(kitchen, { viaServers: via });
  await bob.until('the kitchen', () => bob.client.getRoom(kitchen)?.getMyMembership() === 'join');
  const parents = bob.room(kitchen).currentState.getStateEvents(EventType.SpaceParent);
  assert.deepEqual(
    parents.map((event) => event.getStateKey()),
    [family],
  );

  // A room that is taken out of the space is not found there any more, and he is in it all the same.
  await ann.client.sendStateEvent(family, EventType.SpaceChild, {}, kitchen);
  assert.deepEqual(names(await walk(bob, family)), ['Family', 'Garden', 'Shed', 'Square']);
  await bob.send(kitchen, MESSAGE, text('still here'));
});
