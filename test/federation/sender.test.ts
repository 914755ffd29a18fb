import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FederationError } from '../../server/federation/errors.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import {
  AWAY,
  event,
  FAR,
  GARDEN,
  HOME,
  HOUR,
  KITCHEN,
  LEFT_ALONE_MS,
  MINUTE,
  names,
  outgoing,
  server,
  until,
} from './sender-kit.ts';

const typing = (who: string): { type: string; content: JsonObject } => ({ type: 'm.typing', content: { user: who } });

test('events go out in order, at most fifty at a time, one transaction after the other', async (t) => {
  const { peers, sendEvents } = outgoing(t);
  const sent = names(120);
  sendEvents(sent, [AWAY, FAR, HOME, AWAY]);
  await until(() => peers.eventsOf(FAR).length === 120 && peers.eventsOf(AWAY).length === 120, 'both have all');
  assert.deepEqual(peers.eventsOf(AWAY), sent);
  assert.deepEqual(peers.eventsOf(FAR), sent);
  assert.equal(peers.mostAtOnce, 1);
  assert.equal(new Set(peers.tried.map(({ transactionId }) => transactionId)).size, peers.tried.length);
  assert.ok(peers.tried.length <= 6, 'full transactions');
});

test('an event whose write is undone is never sent', async (t) => {
  const { peers, db, sender, sendEvents } = outgoing(t);
  assert.throws(() =>
    db.write((tx) => {
      sender.sendPdu(tx, [AWAY, FAR], { eventId: event('undone'), roomId: KITCHEN });
      throw new Error('thought better of it');
    }),
  );
  sendEvents(['kept'], [AWAY, FAR]);
  await until(() => peers.received.length === 2, 'both were sent to');
  assert.deepEqual(peers.eventsOf(AWAY), ['kept']);
  assert.deepEqual(peers.eventsOf(FAR), ['kept']);
});

test('an event goes out as it is when it is sent, or not at all if it is gone', async (t) => {
  const { peers, pdus, clock, sendEvents } = outgoing(t);
  peers.unplug(AWAY);
  sendEvents(['secret', 'gone', 'last'], [AWAY]);
  await until(() => peers.tried.length === 1, 'it was tried');
  pdus.set(event('secret'), { id: 'pruned' });
  pdus.set(event('gone'), undefined);
  peers.answers.delete(AWAY);
  await clock.advance(LEFT_ALONE_MS);
  await until(() => peers.received.length === 1, 'it came through');
  assert.deepEqual(peers.eventsOf(AWAY), ['pruned', 'last']);
});

test('a restart in the middle neither loses nor repeats nor reorders what was acknowledged', async (t) => {
  const first = outgoing(t);
  const { peers } = first;
  const sent = names(200);
  let taken = 0;
  peers.answers.set(AWAY, () => {
    taken += 1;
    return taken > 2 ? new Promise(() => {}) : { pdus: {} };
  });
  first.sendEvents(sent, [AWAY]);
  first.db.write((tx) => first.sender.sendDurably(tx, [FAR], { type: 'm.direct_to_device', content: { n: 1 } }));
  await until(() => peers.tried.length >= 4, 'the third is on its way');
  const second = await first.restart();
  peers.answers.delete(AWAY);
  second.sendEvents(['after'], [AWAY]);
  await second.clock.advance(MINUTE);
  await until(() => peers.eventsOf(AWAY).length >= 201, 'all came');
  assert.deepEqual(peers.eventsOf(AWAY), [...sent, 'after']);
  assert.equal(peers.edusOf(FAR).length, 1);
  assert.deepEqual(second.sender.listQueues(), []);
});

test('after a short outage a server gets every event', async (t) => {
  const { peers, clock, sendEvents } = outgoing(t);
  peers.unplug(AWAY);
  const sent = names(40);
  sendEvents(sent.slice(0, 20), [AWAY, FAR]);
  await until(() => peers.tried.length >= 2, 'it was tried');
  sendEvents(sent.slice(20), [AWAY, FAR]);
  await clock.advance(5 * MINUTE);
  peers.back(AWAY);
  await until(() => peers.eventsOf(AWAY).length === 40, 'it has all');
  assert.deepEqual(peers.eventsOf(AWAY), sent);
});

test('a long outage costs one event for each room, and the living get them all', async (t) => {
  const { peers, clock, db, sender, sendEvents } = outgoing(t);
  const rows = db.prepareRead<{ rows: number }>('SELECT count(*) AS rows FROM outgoing_pdus');
  peers.unplug(AWAY);
  sendEvents(['first'], [AWAY, FAR]);
  await until(() => peers.tried.length >= 2, 'it was tried');
  await clock.advance(2 * HOUR);
  sendEvents(names(300, 'k'), [AWAY, FAR]);
  sendEvents(names(70, 'g'), [AWAY], GARDEN);
  await until(() => peers.eventsOf(FAR).length === 301, 'the living server has them');
  await clock.advance(2_000);
  assert.equal(rows.find()?.rows, 2);
  assert.deepEqual(
    sender.listQueues().map(({ server: name, pdus, edus }) => ({ name, pdus, edus })),
    [{ name: AWAY, pdus: 2, edus: 0 }],
  );
  peers.back(AWAY);
  await until(() => peers.eventsOf(AWAY).length === 2, 'it has the newest');
  assert.deepEqual(peers.eventsOf(AWAY), ['k299', 'g69']);
  await clock.advance(2_000);
  assert.equal(rows.find()?.rows, 0);
});

test('an outage of less than an hour costs no more than fifty events for each room', async (t) => {
  const { peers, clock, sendEvents } = outgoing(t);
  peers.unplug(AWAY);
  sendEvents(names(200), [AWAY]);
  await clock.advance(2_000);
  peers.back(AWAY);
  await until(() => peers.eventsOf(AWAY).length === 50, 'it has the newest');
  assert.deepEqual(peers.eventsOf(AWAY), names(200).slice(150));
});

test('a server that left the room while it was away still hears of that', async (t) => {
  const { peers, clock, sendEvents } = outgoing(t);
  peers.unplug(AWAY);
  sendEvents(['first'], [AWAY, FAR]);
  await clock.advance(2 * HOUR);
  sendEvents(['kick'], [AWAY, FAR]);
  sendEvents(names(20), [FAR]);
  await clock.advance(2_000);
  peers.back(AWAY);
  await until(() => peers.eventsOf(AWAY).length === 1, 'it was told');
  assert.deepEqual(peers.eventsOf(AWAY), ['kick']);
});

test('dead servers among the living hold up nobody', async (t) => {
  const { peers, clock, sendEvents } = outgoing(t);
  const living = names(70).map((name) => server(`${name}.alive`));
  const dead = names(130).map((name) => server(`${name}.dead`));
  for (const name of dead) peers.freeze(name);
  sendEvents(names(200), [...dead, ...living]);
  await until(() => peers.tried.length >= 100, 'as many as may are spoken to');
  await clock.advance(15_000);
  await until(() => living.every((name) => peers.eventsOf(name).length === 200), 'the living have everything');
  for (const name of living) assert.deepEqual(peers.eventsOf(name), names(200));
  assert.equal(peers.mostAtOnce, 1);
});

test('a server that is left alone is asked once when its time has come, however much waits for it', async (t) => {
  const { peers, clock, sendEvents } = outgoing(t);
  peers.unplug(AWAY);
  sendEvents(['first'], [AWAY]);
  await until(() => peers.tried.length === 1, 'it was tried');
  for (const name of names(30)) {
    sendEvents([name], [AWAY]);
    await clock.advance(10_000);
  }
  assert.equal(peers.tried.length, 1);
  await clock.advance(LEFT_ALONE_MS);
  assert.equal(peers.tried.length, 2);
});

test('after the machine slept, what was on its way is sent anew and others are tried within seconds', async (t) => {
  const { peers, clock, sender, sendEvents } = outgoing(t);
  peers.freeze(AWAY);
  peers.answers.set(FAR, () => {
    throw new FederationError('refused', FAR, 'not you', { status: 403, errcode: 'M_FORBIDDEN' });
  });
  sendEvents(['news'], [AWAY, FAR]);
  await clock.advance(1_000);
  assert.equal(peers.tried.length, 2);
  peers.answers.clear();
  sender.wake();
  await until(() => peers.eventsOf(AWAY).length === 1, 'the first is there');
  await clock.advance(4_000);
  await until(() => peers.eventsOf(FAR).length === 1, 'and so is the second');
});

test('what a server refuses is found and dropped, and everything else arrives', async (t) => {
  const { peers, clock, sendEvents } = outgoing(t);
  peers.answers.set(AWAY, ({ pdus }) => {
    if (pdus.includes('e13')) throw new FederationError('refused', AWAY, 'bad', { status: 400, errcode: 'M_BAD_JSON' });
    return { pdus: {} };
  });
  sendEvents(names(60), [AWAY]);
  for (let tries = 0; tries < 20; tries += 1) await clock.advance(1_000);
  await until(() => peers.eventsOf(AWAY).length === 59, 'all but one arrived');
  assert.deepEqual(
    peers.eventsOf(AWAY),
    names(60).filter((name) => name !== 'e13'),
  );
  assert.ok(peers.tried.length < 20, 'it did not take long to find');
});

for (const status of [401, 403, 404, 429, 502]) {
  test(`a refusal with ${status} loses nothing`, async (t) => {
    const { peers, clock, sendEvents } = outgoing(t);
    let refusals = 0;
    peers.answers.set(AWAY, () => {
      refusals += 1;
      if (refusals > 3) return { pdus: {} };
      throw new FederationError('refused', AWAY, 'no', { status, body: { retry_after_ms: 2_000 } });
    });
    sendEvents(names(3), [AWAY]);
    await clock.advance(5 * MINUTE);
    assert.deepEqual(peers.eventsOf(AWAY), names(3));
    assert.equal(peers.tried.length, 4);
  });
}

test('errors of single events in the answer do not keep the rest back', async (t) => {
  const { peers, sendEvents } = outgoing(t);
  peers.answers.set(AWAY, () => ({ pdus: { $e0: { error: 'not allowed' }, $e1: {} } }));
  sendEvents(names(2), [AWAY]);
  await until(() => peers.received.length === 1, 'they were sent');
  sendEvents(['later'], [AWAY]);
  await until(() => peers.received.length === 2, 'more was sent');
  assert.deepEqual(peers.eventsOf(AWAY), ['e0', 'e1', 'later']);
});

test('durable EDUs wait for their server in order, the newest of each key', async (t) => {
  const first = outgoing(t);
  const { peers } = first;
  peers.unplug(AWAY);
  const send = (n: number, key?: string): void =>
    first.db.write((tx) => first.sender.sendDurably(tx, [AWAY], { type: 'm.test', content: { n } }, key));
  send(1);
  send(2, 'a');
  send(3, 'b');
  await until(() => peers.tried.length === 1, 'it was tried');
  send(4, 'a');
  send(5);
  const second = await first.restart();
  peers.back(AWAY);
  await second.clock.advance(MINUTE);
  await until(() => peers.edusOf(AWAY).length > 0, 'it has them');
  assert.deepEqual(
    peers.edusOf(AWAY),
    [1, 3, 4, 5].map((n) => ({ edu_type: 'm.test', content: { n } })),
  );
});

test('an EDU that is replaced while the older one is on its way is sent too', async (t) => {
  const { peers, db, sender } = outgoing(t);
  const gate = Promise.withResolvers<void>();
  peers.answers.set(AWAY, async () => {
    await gate.promise;
    return { pdus: {} };
  });
  const send = (n: number): void =>
    db.write((tx) => sender.sendDurably(tx, [AWAY], { type: 'm.test', content: { n } }, 'key'));
  send(1);
  await until(() => peers.tried.length === 1, 'the first is on its way');
  send(2);
  gate.resolve();
  await until(() => peers.received.length === 2, 'both arrived');
  assert.deepEqual(
    peers.edusOf(AWAY).map(({ content }) => content),
    [{ n: 1 }, { n: 2 }],
  );
});

test('an EDU made when it is sent tells what is so then, in as many transactions as it takes', async (t) => {
  let devices = 1;
  const { peers, db, clock, sender } = outgoing(t, {
    builders: {
      'm.device_list_update': (to, key) =>
        names(devices, 'D').map((device) => ({ type: 'm.device_list_update', content: { to, key, device } })),
      'm.nothing': () => undefined,
    },
  });
  peers.unplug(AWAY);
  const announce = (): void =>
    db.write((tx) => {
      sender.sendLater(tx, [AWAY], 'm.device_list_update', '@ann:hearth.test');
      sender.sendLater(tx, [AWAY], 'm.nothing', 'x');
      sender.sendDurably(tx, [AWAY], { type: 'm.last', content: {} });
    });
  announce();
  await clock.advance(MINUTE);
  devices = 250;
  announce();
  peers.back(AWAY);
  await until(() => peers.edusOf(AWAY).length === 252, 'all arrived');
  const told = peers.edusOf(AWAY).filter(({ edu_type: type }) => type === 'm.device_list_update');
  assert.deepEqual(
    told.map(({ content }) => content),
    names(250, 'D').map((device) => ({ to: AWAY, key: '@ann:hearth.test', device })),
  );
  await clock.advance(2_000);
  assert.deepEqual(sender.listQueues(), []);
});

test('what is worthless when late is sent in its newest form, and to nobody who is away', async (t) => {
  const { peers, clock, sender, sendEvents } = outgoing(t);
  peers.unplug(FAR);
  sendEvents(['first'], [FAR]);
  await until(() => peers.tried.length === 1, 'it is known to be away');
  const gate = Promise.withResolvers<void>();
  peers.answers.set(AWAY, async () => {
    await gate.promise;
    return { pdus: {} };
  });
  sender.send([AWAY, FAR, HOME], typing('ann'), '!kitchen');
  await until(() => peers.tried.length === 2, 'it is on its way');
  sender.send([AWAY, FAR], typing('bob'), '!kitchen');
  sender.send([AWAY, FAR], typing('carol'), '!kitchen');
  sender.send([AWAY, FAR], { type: 'm.presence', content: {} });
  sender.send([AWAY, FAR], { type: 'm.presence', content: {} });
  gate.resolve();
  await until(() => peers.edusOf(AWAY).length === 4, 'it arrived');
  assert.deepEqual(
    peers.edusOf(AWAY).map(({ edu_type: type, content }) => [type, content]),
    [
      ['m.typing', { user: 'ann' }],
      ['m.typing', { user: 'carol' }],
      ['m.presence', {}],
      ['m.presence', {}],
    ],
  );
  await clock.advance(1_000);
  peers.back(FAR);
  await until(() => peers.eventsOf(FAR).length === 1, 'the event arrived');
  assert.deepEqual(peers.edusOf(FAR), []);
});

test('read receipts of a room share their transactions, unless something else takes them along', async (t) => {
  const { peers, clock, sender, sendEvents } = outgoing(t, { settings: { receiptTransactionsPerRoomPerSecond: 1 } });
  const receipt = (n: number): void =>
    sender.send([AWAY, FAR], { type: 'm.receipt', content: { [KITCHEN]: { n } } }, `${KITCHEN} ${n}`);
  receipt(0);
  await until(() => peers.received.length === 2, 'the first is sent at once');
  receipt(1);
  await clock.advance(1_000);
  receipt(2);
  assert.equal(peers.received.length, 2);
  sendEvents(['hello'], [FAR]);
  await until(() => peers.edusOf(FAR).length === 3, 'they came with the event');
  assert.equal(peers.edusOf(AWAY).length, 1);
  await clock.advance(1_000);
  await until(() => peers.edusOf(AWAY).length === 3, 'they came with the next round');
  assert.equal(peers.received.length, 4);
});

test('nothing is sent to a server outside of those that are allowed', async (t) => {
  const first = outgoing(t);
  const { peers } = first;
  peers.unplug(FAR);
  first.sendEvents(['old'], [FAR]);
  await until(() => peers.tried.length === 1, 'it was tried');
  const second = await first.restart({ settings: { allowedServers: [AWAY] } });
  assert.deepEqual(second.sender.listQueues(), []);
  second.sendEvents(['new'], [AWAY, FAR]);
  second.sender.send([AWAY, FAR], typing('ann'));
  await until(() => peers.eventsOf(AWAY).length === 1, 'the allowed one has it');
  await second.clock.advance(HOUR);
  assert.equal(peers.tried.filter(({ server: name }) => name === FAR).length, 1);
});

test('a stop waits for the transaction that is on its way', async (t) => {
  const first = outgoing(t);
  const gate = Promise.withResolvers<void>();
  first.peers.answers.set(AWAY, async () => {
    await gate.promise;
    return { pdus: {} };
  });
  first.sendEvents(['one'], [AWAY]);
  await until(() => first.peers.tried.length === 1, 'it is on its way');
  const stopped = first.sender.stop();
  gate.resolve();
  await stopped;
  assert.deepEqual(first.peers.eventsOf(AWAY), ['one']);
  assert.deepEqual(first.sender.listQueues(), []);
});

test('the queues tell what waits, and since when', async (t) => {
  const { peers, clock, db, sender, sendEvents } = outgoing(t);
  peers.unplug(AWAY);
  const since = clock.now();
  sendEvents(names(3), [AWAY]);
  await clock.advance(MINUTE);
  db.write((tx) => sender.sendDurably(tx, [AWAY], { type: 'm.test', content: {} }));
  assert.deepEqual(sender.listQueues(), [{ server: AWAY, pdus: 3, edus: 1, oldestTs: since }]);
});

test('two makers of one type of EDU are a mistake', (t) => {
  const { sender } = outgoing(t);
  sender.provide('m.test', () => undefined);
  assert.throws(() => sender.provide('m.test', () => undefined), /made by two/);
});

test('a clock that is set back or ahead does not keep a server waiting for longer than was meant', async (t) => {
  for (const jump of [-24 * HOUR, 24 * HOUR]) {
    const { peers, clock, sendEvents } = outgoing(t);
    peers.answers.set(AWAY, () => {
      throw new FederationError('refused', AWAY, 'later', { status: 429, body: { retry_after_ms: 8 * MINUTE } });
    });
    sendEvents(['news'], [AWAY]);
    await clock.advance(1_000);
    peers.answers.clear();
    clock.setWallClock(clock.now() + jump);
    await clock.advance(8 * MINUTE);
    assert.deepEqual(peers.eventsOf(AWAY), ['news']);
  }
});

test('the last that was said in a room that was removed reaches a server that comes back, whenever that is', async (t) => {
  const first = outgoing(t);
  const { peers, pdus, clock, db, sender, sendEvents } = first;
  peers.unplug(AWAY);
  const said = names(60);
  sendEvents([...said, 'left'], [AWAY, FAR]);
  sendEvents(['elsewhere'], [AWAY], GARDEN);
  await until(() => peers.eventsOf(FAR).includes('left') && peers.tried.some((each) => each.server === AWAY), 'tried');
  await until(() => !sender.isSending(KITCHEN), 'nobody who can be reached lacks anything');
  let removed = 0;
  db.write((tx) => {
    sender.keepApart(tx, KITCHEN);
    removed = sender.abandonRoom(tx, KITCHEN, 1_000);
  });
  assert.ok(removed <= 11, 'the newest fifty stay');
  db.write((tx) => assert.equal(sender.abandonRoom(tx, KITCHEN, 1_000), 0));
  for (const name of [...said, 'left']) pdus.set(event(name), undefined);

  // By then only one event of each room is kept for a server that lags.
  await clock.advance(2 * HOUR);
  const { peers: later } = await first.restart();
  later.back(AWAY);
  await clock.advance(LEFT_ALONE_MS);
  await until(() => later.eventsOf(AWAY).includes('left'), 'it has heard of it');
  assert.deepEqual(later.eventsOf(AWAY), [...said.slice(-49), 'left', 'elsewhere']);
});
