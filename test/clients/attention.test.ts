import './quiet-sdk.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ConditionKind,
  Direction,
  NotificationCountType,
  PushRuleActionName,
  PushRuleKind,
  type Room,
  RoomEvent,
  type Thread,
  ThreadEvent,
  TweakName,
} from 'matrix-js-sdk';
import { TestServer } from '../kit/test-server.ts';
import { People, type Person, together } from './person.ts';
import { waitFor } from './waiting.ts';

const { DontNotify, Notify } = PushRuleActionName;

function text(body: string, mentioned: readonly Person[] = []): object {
  return {
    msgtype: 'm.text',
    body,
    'm.mentions': mentioned.length === 0 ? {} : { user_ids: mentioned.map(({ userId }) => userId) },
  };
}

/** What somebody's client shows beside a room: messages it was told of, and those that are highlighted. */
function badge(person: Person, roomId: string): [number, number] {
  const room = person.room(roomId);
  return [
    room.getRoomUnreadNotificationCount(NotificationCountType.Total),
    room.getRoomUnreadNotificationCount(NotificationCountType.Highlight),
  ];
}

/** The same beside a thread. */
function threadBadge(person: Person, roomId: string, threadId: string): [number, number] {
  const room = person.room(roomId);
  return [
    room.getThreadUnreadNotificationCount(threadId, NotificationCountType.Total),
    room.getThreadUnreadNotificationCount(threadId, NotificationCountType.Highlight),
  ];
}

test('what Ann mutes, or wants to hear of only if it is for her, is counted like that on each of her devices', async () => {
  await using server = await TestServer.start();
  using people = new People(server);
  const [ann, bob, eve] = [await people.register('ann'), await people.register('bob'), await people.register('eve')];
  const tablet = await people.logIn('ann');
  const [hall, kitchen] = [await together(bob, [ann, eve]), await together(bob, [ann, eve])];

  /** Bob says something; gives what both devices of Ann show once they have it. */
  const counted = async (roomId: string, content: object): Promise<[number, number]> => {
    const id = await bob.send(roomId, 'm.room.message', content);
    for (const device of [ann, tablet]) {
      await device.until('the message', () => device.client.getRoom(roomId)?.findEventById(id) !== undefined);
    }
    assert.deepEqual(badge(ann, roomId), badge(tablet, roomId));
    return badge(ann, roomId);
  };
  const read = async (roomId: string): Promise<void> => {
    await ann.client.sendReadReceipt(ann.messages(roomId).at(-1) ?? null);
    for (const device of [ann, tablet]) {
      await device.until('nothing unread', () => badge(device, roomId).every((count) => count === 0));
    }
  };
  /** A rule Ann made on one device is known to the other. */
  const known = (what: string, has: () => boolean | undefined): Promise<boolean> => tablet.until(what, has);

  assert.deepEqual(await counted(hall, text('hello')), [1, 0]);
  assert.deepEqual(await counted(hall, text('hello Ann', [ann])), [2, 1]);
  assert.deepEqual(await counted(kitchen, text('hello again', [eve])), [1, 0], 'rooms are counted each for itself');
  await read(hall);
  assert.deepEqual(badge(ann, kitchen), [1, 0]);
  await read(kitchen);

  // Only what is for her.
  await ann.client.setRoomMutePushRule('global', hall, true);
  await known('the rule of the room', () =>
    tablet.client.getRoomPushRule('global', hall)?.actions.includes(DontNotify),
  );
  assert.deepEqual(await counted(hall, text('who is there')), [0, 0]);
  assert.deepEqual(await counted(hall, text('Ann is', [ann])), [1, 1]);
  assert.deepEqual(await counted(kitchen, text('soup is ready')), [1, 0], 'the other room is as it was');

  // And what has to do with soup, wherever it is said.
  await ann.client.addPushRule('global', PushRuleKind.ContentSpecific, 'soup', {
    pattern: 'soup',
    actions: [Notify, { set_tweak: TweakName.Highlight }],
  });
  await known('the rule for soup', () =>
    tablet.client.pushRules?.global.content?.some(({ rule_id: id, pattern }) => id === 'soup' && pattern === 'soup'),
  );
  assert.deepEqual(await counted(kitchen, text('more SOUP, anybody?')), [2, 1]);
  assert.deepEqual(await counted(kitchen, text('soups are something else')), [3, 1]);
  assert.deepEqual(await counted(hall, text('there is soup')), [2, 2], 'a word of hers comes before the room');
  await read(hall);
  await read(kitchen);

  // Nothing at all.
  await ann.client.addPushRule('global', PushRuleKind.Override, kitchen, {
    conditions: [{ kind: ConditionKind.EventMatch, key: 'room_id', pattern: kitchen }],
    actions: [],
  });
  await known('the rule over all others', () =>
    tablet.client.pushRules?.global.override?.some(({ rule_id: id }) => id === kitchen),
  );
  assert.deepEqual(await counted(kitchen, text('Ann, the soup!', [ann])), [0, 0]);
  await ann.client.setPushRuleEnabled('global', PushRuleKind.Override, kitchen, false);
  assert.deepEqual(await counted(kitchen, text('Ann, the soup is cold', [ann])), [1, 1]);

  // As it was at first.
  await ann.client.deletePushRule('global', PushRuleKind.ContentSpecific, 'soup');
  await ann.client.deletePushRule('global', PushRuleKind.Override, kitchen);
  await ann.client.setRoomMutePushRule('global', hall, false);
  await known('that the rules are gone', () => tablet.client.getRoomPushRule('global', hall) === undefined);
  assert.deepEqual(await counted(hall, text('soup?')), [1, 0]);
  await assert.rejects(ann.client.deletePushRule('global', PushRuleKind.ContentSpecific, 'soup'), {
    errcode: 'M_NOT_FOUND',
  });
});

/** Waits for what comes of the requests a room makes of its own accord for its threads. */
function untilInRoom<Found>(room: Room, what: string, look: () => Found | undefined | false): Promise<Found> {
  const news = [
    ThreadEvent.New,
    ThreadEvent.Update,
    ThreadEvent.NewReply,
    RoomEvent.Timeline,
    RoomEvent.Receipt,
  ] as const;
  return waitFor(
    `the room never had ${what}`,
    (onNews) => {
      for (const event of news) room.on(event, onNews);
      return () => {
        for (const event of news) room.off(event, onNews);
      };
    },
    look,
  );
}

function bodies(thread: Thread): string[] {
  return thread.events.map((event) => String(event.getContent()['body']));
}

test('threads have lists, counts and receipts of their own', async () => {
  await using server = await TestServer.start();
  using people = new People(server);
  const [ann, bob] = [await people.register('ann'), await people.register('bob')];
  const roomId = await together(ann, [bob]);
  const say = (person: Person, body: string, thread?: string): Promise<string> =>
    person.send(roomId, 'm.room.message', text(body), thread);
  /** A thread as somebody opens it. */
  const threadOf = (person: Person, root: string, length: number): Promise<Thread> => {
    const room = person.room(roomId);
    const thread = room.getThread(root) ?? room.createThread(root, room.findEventById(root), [], true);
    return untilInRoom(
      room,
      `a thread of ${length}`,
      () => thread.length === length && thread.initialEventsFetched && thread,
    );
  };

  const trip = await say(ann, 'Where shall we go?');
  const lunch = await say(ann, 'What shall we eat?');
  const late = await say(bob, 'I shall be late.');
  await ann.until('all three', () => ann.messages(roomId).length === 3);
  assert.deepEqual(badge(ann, roomId), [1, 0]);
  await ann.client.sendReadReceipt(ann.room(roomId).findEventById(late) ?? null);
  await ann.until('nothing unread', () => badge(ann, roomId)[0] === 0);

  await bob.until('the roots', () => bob.room(roomId).findEventById(lunch));
  await say(bob, 'To the sea!', trip);
  await say(bob, 'Or to the hills.', trip);
  const soup = await say(bob, 'Soup.', lunch);
  await ann.until(
    'the counts of both',
    () => threadBadge(ann, roomId, trip)[0] === 2 && threadBadge(ann, roomId, lunch)[0] === 1,
  );
  assert.deepEqual(badge(ann, roomId), [0, 0], 'what is said in a thread does not count for the room');
  const annsTrip = await threadOf(ann, trip, 2);
  assert.deepEqual(
    ann.messages(roomId).map((event) => event.getId()),
    [trip, lunch, late],
  );
  assert.deepEqual(bodies(annsTrip).slice(-2), ['To the sea!', 'Or to the hills.']);

  // She has read one of them.
  const hills = annsTrip.replyToEvent;
  assert.equal(hills?.getContent()['body'], 'Or to the hills.');
  await ann.client.sendReadReceipt(hills);
  await ann.until('that thread read', () => threadBadge(ann, roomId, trip)[0] === 0);
  assert.deepEqual(threadBadge(ann, roomId, lunch), [1, 0]);
  const bobsTrip = await threadOf(bob, trip, 2);
  await untilInRoom(bob.room(roomId), 'her receipt', () => bobsTrip.getEventReadUpTo(ann.userId) === hills?.getId());
  const bobsLunch = await threadOf(bob, lunch, 1);
  assert.ok(!bobsLunch.hasUserReadEvent(ann.userId, soup));
  assert.equal(bob.room(roomId).getEventReadUpTo(ann.userId), late, 'her receipt for the room is where it was');

  // She takes part in one, and a word to her is highlighted there.
  await say(ann, 'Not soup again.', lunch);
  await bob.send(roomId, 'm.room.message', text('Ann, you cook then.', [ann]), lunch);
  await ann.until('the word to her', () => threadBadge(ann, roomId, lunch)[1] === 1);
  assert.equal(ann.room(roomId).threadsAggregateNotificationType, NotificationCountType.Highlight);

  // A device that comes later has the list, the last reply first, and the counts.
  const tablet = await people.logIn('ann');
  const room = tablet.room(roomId);
  assert.deepEqual(threadBadge(tablet, roomId, trip), [0, 0]);
  assert.equal(threadBadge(tablet, roomId, lunch)[1], 1);
  const lists = await room.createThreadsTimelineSets();
  assert.ok(lists !== null);
  await room.fetchRoomThreads();
  const listed = lists.map((list) =>
    list
      .getLiveTimeline()
      .getEvents()
      .map((event) => event.getId()),
  );
  // Lists are kept with what is newest at the end, as timelines are. Ann wrote the roots of both.
  assert.deepEqual(listed, [
    [trip, lunch],
    [trip, lunch],
  ]);
  const seen = await threadOf(tablet, lunch, 3);
  while (seen.liveTimeline.getPaginationToken(Direction.Backward) !== null) {
    await tablet.client.paginateEventTimeline(seen.liveTimeline, { backwards: true });
  }
  assert.deepEqual(bodies(seen), ['What shall we eat?', 'Soup.', 'Not soup again.', 'Ann, you cook then.']);
  assert.ok(seen.hasCurrentUserParticipated);
  await tablet.client.sendReadReceipt(seen.replyToEvent);
  for (const device of [ann, tablet]) {
    await device.until('nothing unread anywhere', () => !device.room(roomId).hasThreadUnreadNotification());
  }

  // What is taken back is no reply any more.
  await bob.client.redactEvent(roomId, soup);
  assert.deepEqual((await threadOf(ann, lunch, 2)).events.map((event) => event.getId()).includes(soup), false);
});
