import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FederationError } from '../../server/federation/errors.ts';
import type { ServerName } from '../../server/matrix/identifiers.ts';
import {
  alice,
  AWAY,
  dora,
  FAR,
  type House,
  house,
  member,
  type Play,
  refusal,
  RemoteRoom,
  resident,
  unreachable,
} from './remote-kit.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The rooms' servers, which the test takes away and brings back. */
class World {
  readonly #down = new Set<ServerName>([AWAY, FAR]);
  readonly #listeners = new Set<(server: ServerName) => void>();
  readonly play: Play;

  constructor(play: Play) {
    this.play = (asked) => {
      if (this.#down.has(asked.server)) throw unreachable(asked.server);
      return play(asked);
    };
  }

  readonly destinations = {
    readyAt: () => 0,
    onRecovered: (listener: (server: ServerName) => void) => {
      this.#listeners.add(listener);
      return { unsubscribe: () => void this.#listeners.delete(listener) };
    },
  };

  /** It can be reached again; nobody here knows yet. */
  raise(...servers: ServerName[]): void {
    for (const server of servers) this.#down.delete(server);
  }

  sink(...servers: ServerName[]): void {
    for (const server of servers) this.#down.add(server);
  }

  tell(server: ServerName): void {
    for (const listener of this.#listeners) listener(server);
  }
}

function invite(home: House, room: RemoteRoom, by = dora): void {
  const event = room.send(member(alice, 'invite', by));
  const strippedState = [{ type: 'm.room.name', state_key: '', sender: by, content: { name: 'Away' } }];
  home.db.write((tx) => assert(home.rooms.outside.put(tx, event, { strippedState })));
}

async function decline(home: House, room: RemoteRoom, user = alice): Promise<void> {
  await home.remote.leave({ userId: user, roomId: room.roomId, content: { reason: 'No' } });
  assert.equal(home.rooms.members.findMember(room.roomId, user)?.membership, 'leave');
}

function standing(room: RemoteRoom): unknown {
  return room.find('m.room.member', alice).content['membership'];
}

function owed(home: House): number {
  return home.db.prepareRead<{ n: number }>('SELECT count(*) AS n FROM owed_leaves').find()?.n ?? 0;
}

test('who declined while the server of the room was away has it told when that is back, also after a restart', async (t) => {
  const room = new RemoteRoom('11');
  const world = new World(resident(room));
  let home = house(t, world.play, world);
  home.rooms.start();
  invite(home, room);
  await decline(home, room);
  assert.equal(owed(home), 1);

  await home.clock.advance(HOUR);
  const tries = home.operations().length;
  assert.ok(tries > 3 && tries < 12, `asked ${tries} times`);
  await home.rooms.stop();
  home = await home.reopen();
  home.rooms.start();
  assert.equal(standing(room), 'invite');

  world.raise(AWAY);
  await home.clock.advance(7 * HOUR);
  assert.equal(standing(room), 'leave');
  assert.deepEqual(room.find('m.room.member', alice).content, { membership: 'leave', reason: 'No' });
  assert.equal(owed(home), 0);
  assert.deepEqual(home.rooms.checkConsistency(), []);
  const asked = home.asked.length;
  await home.clock.advance(2 * DAY);
  assert.equal(home.asked.length, asked, 'once is enough');
  await home.rooms.stop();
});

test('a server that is heard of again is told at once', async (t) => {
  const room = new RemoteRoom('11', { joinRule: 'knock' });
  const world = new World(resident(room));
  const home = house(t, world.play, world);
  home.rooms.start();
  world.raise(AWAY);
  await home.remote.knock({ userId: alice, roomId: room.roomId, servers: [AWAY], content: {} });
  world.sink(AWAY);
  await decline(home, room);
  await home.clock.advance(DAY);
  world.raise(AWAY);
  assert.equal(standing(room), 'knock');
  world.tell(FAR);
  await home.clock.advance(0);
  assert.equal(standing(room), 'knock');
  world.tell(AWAY);
  await home.clock.advance(0);
  assert.equal(standing(room), 'leave');
  await home.rooms.stop();
});

test('who was invited again meanwhile is not said to have left', async (t) => {
  const room = new RemoteRoom('11');
  const world = new World(resident(room));
  const home = house(t, world.play, world);
  home.rooms.start();
  invite(home, room);
  await decline(home, room);
  invite(home, room);
  world.raise(AWAY);
  home.asked.length = 0;
  world.tell(AWAY);
  await home.clock.advance(DAY);
  assert.deepEqual(home.operations(), []);
  assert.equal(standing(room), 'invite');
  assert.equal(owed(home), 0);
  await home.rooms.stop();
});

test('an invite that comes while the leave is being made stops it', async (t) => {
  const room = new RemoteRoom('11');
  const made = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const world = new World(
    resident(room, async ({ operation }) => {
      if (operation !== 'v1/make_leave') return undefined;
      made.resolve();
      await goOn.promise;
      return undefined;
    }),
  );
  const home = house(t, world.play, world);
  home.rooms.start();
  invite(home, room);
  await decline(home, room);
  world.raise(AWAY);
  world.tell(AWAY);
  await made.promise;
  invite(home, room);
  goOn.resolve();
  await home.clock.advance(DAY);
  assert.ok(!home.operations().includes('away.test v2/send_leave'));
  assert.equal(standing(room), 'invite');
  assert.equal(owed(home), 0);
  await home.rooms.stop();
});

test('who is about to join is not said to have left, and is again if that fails', async (t) => {
  const room = new RemoteRoom('11');
  const asked = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const world = new World(
    resident(room, async ({ operation, server }) => {
      if (operation !== 'v1/make_join') return undefined;
      asked.resolve();
      await goOn.promise;
      throw refusal(server, 403, 'M_FORBIDDEN');
    }),
  );
  const home = house(t, world.play, world);
  home.rooms.start();
  invite(home, room);
  await decline(home, room);
  world.raise(AWAY);
  const joining = home.remote.join({ userId: alice, roomId: room.roomId, servers: [AWAY], content: {} });
  await asked.promise;
  home.asked.length = 0;
  world.tell(AWAY);
  await home.clock.advance(HOUR);
  assert.deepEqual(home.operations(), []);
  goOn.resolve();
  await assert.rejects(joining);
  await home.clock.advance(7 * HOUR);
  assert.equal(standing(room), 'leave');
  await home.rooms.stop();
});

test('it is given up when the servers want no such leave, and after a month', async (t) => {
  const [refused, lost] = [new RemoteRoom('11'), new RemoteRoom('11')];
  const world = new World(({ server, operation }) => {
    if (operation === 'v1/make_leave') throw refusal(server, 403, 'M_FORBIDDEN');
    return undefined;
  });
  const home = house(t, world.play, world);
  home.rooms.start();
  invite(home, refused);
  await decline(home, refused);
  world.raise(AWAY);
  world.tell(AWAY);
  await home.clock.advance(0);
  assert.equal(owed(home), 0);

  world.sink(AWAY);
  invite(home, lost);
  await decline(home, lost);
  await home.clock.advance(29 * DAY);
  assert.equal(owed(home), 1);
  const tries = home.asked.length;
  assert.ok(tries < 200, `asked ${tries} times in a month`);
  await home.clock.advance(2 * DAY);
  assert.equal(owed(home), 0);

  // What was refused in the first place is not owed.
  world.raise(AWAY);
  const other = new RemoteRoom('11');
  invite(home, other);
  await decline(home, other);
  assert.equal(owed(home), 0);
  await home.rooms.stop();
});

test('an answer of something in front of a server, or that it is busy, is none', async (t) => {
  const room = new RemoteRoom('11');
  const answers = [
    refusal(AWAY, 404, undefined),
    refusal(AWAY, 429, 'M_LIMIT_EXCEEDED'),
    refusal(AWAY, 502, undefined),
  ];
  answers.push(new FederationError('malformed', AWAY, 'that is no JSON'));
  const world = new World(
    resident(room, ({ operation }) => {
      const answer = operation === 'v1/make_leave' ? answers.shift() : undefined;
      if (answer !== undefined) throw answer;
      return undefined;
    }),
  );
  const home = house(t, world.play, world);
  home.rooms.start();
  invite(home, room);
  await decline(home, room);
  world.raise(AWAY);
  await home.clock.advance(2 * HOUR);
  assert.equal(answers.length, 0);
  assert.equal(standing(room), 'leave');
  assert.equal(owed(home), 0);
  await home.rooms.stop();
});

test('of very many declined invites the newest are kept', async (t) => {
  const world = new World(() => undefined);
  const home = house(t, world.play, world);
  const rooms = Array.from({ length: 103 }, () => new RemoteRoom('11'));
  for (const room of rooms) {
    invite(home, room);
    await decline(home, room);
    await home.clock.advance(1);
  }
  assert.equal(owed(home), 100);
  const kept = home.db.prepareRead<{ room_id: string }>('SELECT room_id FROM owed_leaves').list();
  const ids = new Set(kept.map(({ room_id: id }) => id));
  for (const room of rooms.slice(-100)) assert.ok(ids.has(room.roomId));
});

test('a room that is removed from this server has it told all the same; a restored copy does not know what was meant since', async (t) => {
  const [removed, restored] = [new RemoteRoom('11'), new RemoteRoom('11')];
  const rooms = new Map([removed, restored].map((room) => [room.roomId as string, resident(room)]));
  const world = new World((asked) => rooms.get(asked.params[0] ?? '')?.(asked));
  const home = house(t, world.play, world);
  home.rooms.start();
  invite(home, removed);
  await decline(home, removed);
  const purged = home.rooms.purges.purge(removed.roomId);
  await home.clock.advance(MINUTE);
  await purged;
  assert.equal(home.rooms.members.findMember(removed.roomId, alice), undefined);
  world.raise(AWAY);
  world.tell(AWAY);
  await home.clock.advance(0);
  assert.equal(standing(removed), 'leave');
  assert.equal(home.rooms.members.findMember(removed.roomId, alice), undefined);
  assert.deepEqual(home.rooms.checkConsistency(), []);

  world.sink(AWAY);
  invite(home, restored);
  await decline(home, restored);
  home.db.write((tx) => home.rooms.afterRestore(tx));
  world.raise(AWAY);
  world.tell(AWAY);
  await home.clock.advance(DAY);
  assert.equal(standing(restored), 'invite');
  await home.rooms.stop();
});
