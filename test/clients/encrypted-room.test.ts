import './quiet-sdk.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventTimeline, EventTimelineSet, type MatrixEvent, Preset, RelationType } from 'matrix-js-sdk';
import { Person } from './person.ts';
import { ServerProcess } from './server-process.ts';

const MESSAGE = 'm.room.message';

function text(body: string): object {
  return { msgtype: 'm.text', body };
}

function bodies(events: readonly MatrixEvent[]): string[] {
  return events.map((event) => String(event.getContent()['body']));
}

function range(prefix: string, from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, index) => `${prefix} ${from + index}`);
}

/** Bob's and Ann's messages in the order each of them said theirs. */
function bySpeaker(all: readonly string[]): { ann: string[]; bob: string[] } {
  return { ann: all.filter((body) => body.startsWith('ann')), bob: all.filter((body) => body.startsWith('bob')) };
}

test('Ann and Bob talk in an encrypted room over restarts and a crash of their server, and lose nothing', async (t) => {
  await using server = await ServerProcess.start();
  const ann = await Person.register(server, 'ann');
  const bob = await Person.register(server, 'bob');
  const tablet = await Person.logIn(server, 'bob');
  const everybody = [ann, bob, tablet];
  t.after(() => everybody.forEach((person) => person.stop()));

  const restart = async (end: () => Promise<void>): Promise<void> => {
    await end();
    await server.begin();
    for (const person of everybody) person.reconnect();
  };

  for (const person of [ann, bob]) {
    await person.client.getCrypto()?.bootstrapCrossSigning({
      authUploadDeviceSigningKeys: async (makeRequest) => {
        await makeRequest(null);
      },
    });
  }
  const { room_id: roomId } = await ann.client.createRoom({
    preset: Preset.TrustedPrivateChat,
    invite: [bob.userId],
    initial_state: [{ type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
  });
  await bob.until('the invitation', () => bob.client.getRoom(roomId)?.getMyMembership() === 'invite');
  await bob.client.joinRoom(roomId);
  for (const person of everybody) {
    await person.until('both in the room', () => person.client.getRoom(roomId)?.getJoinedMemberCount() === 2);
    // A message is readable for the devices its sender knows of.
    await person.until('the keys of all three devices', async () => {
      const users = [ann.userId, bob.userId];
      const devices = await person.client.getCrypto()?.getUserDeviceInfo(users, true);
      return devices?.get(ann.userId)?.size === 1 && devices.get(bob.userId)?.size === 2;
    });
  }
  const verified = await bob.client
    .getCrypto()
    ?.getDeviceVerificationStatus(ann.userId, ann.client.getDeviceId() ?? '');
  assert.equal(verified?.signedByOwner, true, 'Bob’s client has seen that Ann signed her device');

  const sent = new Map<string, string>();
  const talk = async (person: Person, name: string, from: number, to: number): Promise<void> => {
    for (const body of range(name, from, to)) sent.set(body, await person.send(roomId, MESSAGE, text(body)));
  };
  const bothTalk = (from: number, to: number): Promise<unknown> =>
    Promise.all([talk(ann, 'ann', from, to), talk(bob, 'bob', from, to)]);

  await bothTalk(1, 35);
  await restart(() => server.stop());
  await bothTalk(36, 60);
  const whileItCrashes = bothTalk(61, 100);
  while (sent.size < 150) await new Promise((resolve) => setImmediate(resolve));
  await restart(() => server.kill());
  await whileItCrashes;
  assert.equal(sent.size, 200);

  const expected = { ann: range('ann', 1, 100), bob: range('bob', 1, 100) };
  const orders: string[][] = [];
  for (const person of everybody) {
    const read = await person.until('two hundred messages', () => {
      const events = person.messages(roomId).filter((event) => !event.isDecryptionFailure());
      return events.length >= 200 && events;
    });
    assert.deepEqual(bySpeaker(bodies(read)), expected);
    assert.ok(read.every((event) => event.isEncrypted()));
    assert.deepEqual(new Map(read.map((event) => [String(event.getContent()['body']), event.getId()])).size, 200);
    for (const event of read) assert.equal(event.getId(), sent.get(String(event.getContent()['body'])));
    orders.push(bodies(read));
  }
  assert.deepEqual(orders[0], orders[1], 'all read them in the same order');
  assert.deepEqual(orders[0], orders[2]);

  await t.test('a reaction, an edit, a redaction and a thread reach the others', async () => {
    const id = (body: string): string => sent.get(body) ?? assert.fail(`${body} was sent`);
    const found = (body: string): MatrixEvent | undefined => tablet.room(roomId).findEventById(id(body));

    await bob.send(roomId, 'm.reaction', {
      'm.relates_to': { rel_type: RelationType.Annotation, event_id: id('ann 7'), key: '👍' },
    });
    await ann.send(roomId, MESSAGE, {
      ...text('* ann eight'),
      'm.new_content': text('ann eight'),
      'm.relates_to': { rel_type: RelationType.Replace, event_id: id('ann 8') },
    });
    await bob.client.redactEvent(roomId, id('bob 9'), undefined, { reason: 'a slip' });
    await bob.send(roomId, MESSAGE, text('in the thread 1'), id('ann 10'));
    await ann.send(roomId, MESSAGE, text('in the thread 2'), id('ann 10'));

    await tablet.until('the reaction', () =>
      tablet
        .room(roomId)
        .relations.getChildEventsForEvent(id('ann 7'), RelationType.Annotation, 'm.reaction')
        ?.getSortedAnnotationsByKey()
        ?.some(([key, events]) => key === '👍' && events.size === 1),
    );
    await tablet.until('the edit', () => found('ann 8')?.getContent()['body'] === 'ann eight');
    await tablet.until('the redaction', () => found('bob 9')?.isRedacted());
    await tablet.until('the thread', () => {
      const thread = tablet.room(roomId).getThread(id('ann 10'));
      const replies = thread?.events.filter((event) => event.getId() !== thread.id) ?? [];
      return bodies(replies).join() === 'in the thread 1,in the thread 2';
    });
    // The client's own count may run ahead of what it has been told.
    const root = await tablet.client.fetchRoomEvent(roomId, id('ann 10'));
    const summary = root.unsigned?.['m.relations']?.['m.thread'];
    assert.equal(summary?.count, 2);
    assert.equal(summary.current_user_participated, true);
  });

  await restart(() => server.stop());
  await t.test('all of it can be read again, page by page', async () => {
    const set = new EventTimelineSet(bob.room(roomId), { timelineSupport: true }, bob.client);
    const last = orders[0]?.at(-1) ?? '';
    const timeline = await bob.client.getEventTimeline(set, sent.get(last) ?? '');
    assert.ok(timeline !== null);
    let pages = 0;
    while (await bob.client.paginateEventTimeline(timeline, { backwards: true, limit: 30 })) pages += 1;
    assert.ok(pages >= 6);
    assert.equal(timeline.getPaginationToken(EventTimeline.BACKWARDS), null);
    const events = timeline.getEvents();
    assert.equal(events[0]?.getType(), 'm.room.create');
    for (const event of events) await bob.client.decryptEventIfNeeded(event);
    const said = events.filter((event) => sent.get(String(event.getOriginalContent()['body'])) === event.getId());
    assert.deepEqual(bySpeaker(bodies(said)), {
      ann: expected.ann.map((body) => (body === 'ann 8' ? 'ann eight' : body)),
      bob: expected.bob.filter((body) => body !== 'bob 9'),
    });
    const order = orders[0]?.filter((body) => body !== 'bob 9');
    assert.deepEqual(
      said.map((event) => String(event.getOriginalContent()['body'])),
      order,
    );
  });
});
