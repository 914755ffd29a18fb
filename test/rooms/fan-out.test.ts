import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import {
  type EventId,
  isServerName,
  type RoomId,
  type ServerName,
  type UserId,
} from '../../server/matrix/identifiers.ts';
import type { PersistedEvent } from '../../server/rooms/types.ts';
import { FollowerRunner } from '../../server/storage/followers.ts';
import { silentLogger } from '../../server/util/log.ts';
import { alice, AWAY, bob, dora, draft, household, type Household, remoteEvent, userId } from './room-kit.ts';

const THIRD = serverName('third.test');
const eve = userId('@eve:third.test');

function serverName(name: string): ServerName {
  if (!isServerName(name)) throw new TypeError(`${name} is no server name`);
  return name;
}

interface Sent {
  readonly eventId: EventId;
  readonly roomId: RoomId;
  readonly servers: readonly ServerName[];
}

/** Follows a household's stream and notes what goes to whom. */
function postOffice(t: TestContext, home: Household, shutOut: ReadonlySet<ServerName> = new Set()) {
  const sent: Sent[] = [];
  const follower = home.rooms.fanOut.follower({
    sender: {
      sendPdu: (tx, destinations, { eventId, roomId }) => {
        const servers = [...destinations].sort();
        tx.onCommit(() => void sent.push({ eventId, roomId, servers }));
      },
    },
    acls: { isAllowedBy: (server) => !shutOut.has(server) },
  });
  const runner = new FollowerRunner({ db: home.db, followers: [follower], log: silentLogger, clock: home.clock });
  runner.start();
  t.after(() => runner.stop());
  return {
    runner,
    sent,
    /** To whom an event went; nothing if it did not go out. */
    serversOf: async ({ eventId }: { eventId: EventId }): Promise<readonly ServerName[]> => {
      await runner.idle();
      const found = sent.filter((one) => one.eventId === eventId);
      assert.ok(found.length <= 1, 'an event goes out once');
      return found[0]?.servers ?? [];
    },
  };
}

/** An event of another server's user comes in, as signed as it must be. */
async function arrive(home: Household, event: RoomEvent): Promise<PersistedEvent> {
  const acceptance = await home.rooms.inbox.accept(event.pdu, { verified: true });
  assert.ok(acceptance.kind === 'stored', `the event was ${JSON.stringify(acceptance)}`);
  assert.equal(acceptance.event.verdict, 'accepted');
  return acceptance.event;
}

function latest({ rooms }: Household, roomId: RoomId): PersistedEvent {
  const event = rooms.timeline.findLatest(roomId);
  assert.ok(event !== undefined);
  return event;
}

async function join(home: Household, roomId: RoomId, user: UserId): Promise<PersistedEvent> {
  return arrive(home, remoteEvent(home, roomId, draft.member(user, user, 'join'), { after: [latest(home, roomId)] }));
}

test('an event goes to the servers in the room, and what concerns nobody else stays in the house', async (t) => {
  const home = household(t);
  const { sent, serversOf } = postOffice(t, home);
  const shared = await home.createRoom();
  const own = await home.createRoom();
  await home.send(own, draft.member(bob, bob, 'join'));
  await join(home, shared, dora);
  await join(home, shared, eve);
  const hello = await home.send(shared, draft.message(alice, 'hello'));
  const aside = await home.send(own, draft.message(bob, 'psst'));
  assert.deepEqual(await serversOf(hello), [AWAY, THIRD]);
  assert.deepEqual(await serversOf(aside), []);
  assert.deepEqual(
    sent.map(({ eventId }) => eventId),
    [hello.eventId],
  );
});

test('events of others are not sent on, unless they came in through this server: then not back to where they are from', async (t) => {
  const home = household(t);
  const { serversOf } = postOffice(t, home);
  const roomId = await home.createRoom();
  const first = await join(home, roomId, dora);
  const said = await arrive(
    home,
    remoteEvent(home, roomId, draft.message(dora, 'hello'), { after: [latest(home, roomId)] }),
  );
  const second = await join(home, roomId, eve);
  home.db.write((tx) => home.rooms.fanOut.forward(tx, second));
  assert.deepEqual(await serversOf(second), [AWAY]);
  assert.deepEqual(await serversOf(first), []);
  assert.deepEqual(await serversOf(said), []);
  const again = await arrive(
    home,
    remoteEvent(home, roomId, draft.member(eve, eve, 'leave'), { after: [latest(home, roomId)] }),
  );
  home.db.write((tx) => home.rooms.fanOut.forward(tx, again));
  assert.deepEqual(await serversOf(again), [AWAY]);
});

test('the state before the event decides: whoever is kicked hears of that and of nothing after it', async (t) => {
  const home = household(t);
  const { serversOf } = postOffice(t, home);
  const roomId = await home.createRoom();
  await join(home, roomId, dora);
  const kick = await home.send(roomId, draft.member(alice, dora, 'leave'));
  const after = await home.send(roomId, draft.message(alice, 'she is gone'));
  assert.deepEqual(await serversOf(kick), [AWAY]);
  assert.deepEqual(await serversOf(after), []);
});

test('the server of an invited user hears that the invite is taken back, but gets the invite another way', async (t) => {
  const home = household(t);
  const { serversOf } = postOffice(t, home);
  const roomId = await home.createRoom({ joinRule: 'invite' });
  await join(home, await home.createRoom(), dora);
  const invite = await home.send(roomId, draft.member(alice, dora, 'invite'));
  const message = await home.send(roomId, draft.message(alice, 'will she come?'));
  const withdrawn = await home.send(roomId, draft.member(alice, dora, 'leave'));
  const banned = await home.send(roomId, draft.member(alice, dora, 'ban'));
  assert.deepEqual(await serversOf(invite), []);
  assert.deepEqual(await serversOf(message), []);
  assert.deepEqual(await serversOf(withdrawn), [AWAY]);
  assert.deepEqual(await serversOf(banned), []);
});

test('servers that the room shuts out get nothing', async (t) => {
  const home = household(t);
  const { serversOf } = postOffice(t, home, new Set([THIRD]));
  const roomId = await home.createRoom();
  await join(home, roomId, dora);
  await join(home, roomId, eve);
  assert.deepEqual(await serversOf(await home.send(roomId, draft.message(alice, 'hello'))), [AWAY]);
});

test('each event of a row of changes goes to those who were there just before it', async (t) => {
  const home = household(t);
  const { serversOf, runner } = postOffice(t, home);
  const roomId = await home.createRoom();
  await join(home, roomId, dora);
  const name = await home.send(roomId, draft.state(alice, 'm.room.name', { name: 'Kitchen' }));
  const kick = await home.send(roomId, draft.member(alice, dora, 'leave'));
  const alone = await home.send(roomId, draft.state(alice, 'm.room.topic', { topic: 'Quiet' }));
  await join(home, roomId, eve);
  const last = await home.send(roomId, draft.message(alice, 'hello'));
  // All of it is looked at only now, when the room has moved on.
  await runner.idle();
  assert.deepEqual(await serversOf(name), [AWAY]);
  assert.deepEqual(await serversOf(kick), [AWAY]);
  assert.deepEqual(await serversOf(alone), []);
  assert.deepEqual(await serversOf(last), [THIRD]);
});

test('after a restart it goes on where it stopped', async (t) => {
  const before = household(t);
  const first = postOffice(t, before);
  const roomId = await before.createRoom();
  await join(before, roomId, dora);
  const seen = await before.send(roomId, draft.message(alice, 'one'));
  assert.deepEqual(await first.serversOf(seen), [AWAY]);
  await first.runner.stop();
  const missed = await before.send(roomId, draft.message(alice, 'two'));
  const joined = await join(before, roomId, eve);
  before.db.write((tx) => before.rooms.fanOut.forward(tx, joined));
  const after = await before.reopen();
  const second = postOffice(t, after);
  assert.deepEqual(await second.serversOf(missed), [AWAY]);
  assert.deepEqual(await second.serversOf(joined), [AWAY]);
  assert.equal(second.sent.length, 2);
});

test('a long stretch is gone through in order, with nothing left out', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom();
  await join(home, roomId, dora);
  const expected: EventId[] = [];
  for (let count = 0; count < 1_200; count += 1) {
    expected.push((await home.send(roomId, draft.message(alice, `${count}`))).eventId);
  }
  const { sent, runner } = postOffice(t, home);
  await runner.idle();
  assert.deepEqual(
    sent.map(({ eventId }) => eventId),
    expected,
  );
});

test('the same audience is handed over as the same list, so that it need not be looked at again', async (t) => {
  const home = household(t);
  const lists = new Set<unknown>();
  const follower = home.rooms.fanOut.follower({
    sender: { sendPdu: (_tx, destinations) => void lists.add(destinations) },
    acls: { isAllowedBy: () => true },
  });
  const runner = new FollowerRunner({ db: home.db, followers: [follower], log: silentLogger, clock: home.clock });
  runner.start();
  t.after(() => runner.stop());
  const roomId = await home.createRoom();
  await join(home, roomId, dora);
  for (const body of ['a', 'b', 'c']) await home.send(roomId, draft.message(alice, body));
  await runner.idle();
  assert.equal(lists.size, 1);
  assert.ok([...lists].every((list) => Object.isFrozen(list)));
});

test('an own event that another server gave its place in the room is told by that server', async (t) => {
  const home = household(t);
  const { serversOf } = postOffice(t, home);
  const roomId = await home.createRoom();
  await join(home, roomId, dora);
  const known = latest(home, roomId);
  const lacking = { ...known, ...remoteEvent(home, roomId, draft.message(dora, 'not here'), { after: [known] }) };
  const auth = ['m.room.power_levels', 'm.room.member'].flatMap((type) => {
    return home.rooms.state.findCurrent(roomId, type, type === 'm.room.member' ? alice : '') ?? [];
  });
  const event = remoteEvent(home, roomId, draft.message(alice, 'from long ago'), { after: [lacking], auth });
  const state = home.rooms.state.currentState(roomId);
  const acceptance = await home.rooms.inbox.accept(event.pdu, {
    verified: true,
    stateBefore: [...state.entries()].map(([, id]) => id),
  });
  assert.ok(acceptance.kind === 'stored' && acceptance.event.verdict === 'accepted');
  assert.deepEqual(await serversOf(acceptance.event), []);
});
