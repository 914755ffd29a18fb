import { resolveState } from '../server/matrix/state-resolution/resolve.ts';
import { buildUserId, isServerName, type UserId } from '../server/matrix/identifiers.ts';
import { type StateMap, stateKeyOf } from '../server/matrix/events/event.ts';
import { member, TestRoom, topic } from '../test/matrix/event-builder.ts';
import { median } from './figures.ts';

const STATE_EVENTS = 5_000;
const CONFLICTS = 100;

function user(name: string): UserId {
  const server = 'hearth.bench';
  const id = isServerName(server) ? buildUserId(name, server) : undefined;
  if (id === undefined) throw new Error(`${name} makes no user ID`);
  return id;
}

/** Two states of 5,000 events each which differ in 100 keys, resolved by the newest room version, ms (median). */
export function measureStateResolution(): number {
  const room = new TestRoom('12');
  let state = room.start();
  const [aliceId] = [...room.events.values()].map((event) => event.sender);
  if (aliceId === undefined) throw new Error('the room has no creator');
  // Members who stay as they are; their maps are grown in place, or making them would take longer than resolving.
  const common = new Map(state);
  for (let n = common.size; n < STATE_EVENTS - CONFLICTS; n += 1) {
    const { event } = room.send(state, member(user(`member${n}`), 'join'));
    common.set(stateKeyOf('m.room.member', event.stateKey ?? ''), event.eventId);
  }
  state = common;
  const fork = (side: string): StateMap => {
    const own = new Map(state);
    for (let n = 0; n < CONFLICTS; n += 1) {
      const fields =
        n % 10 === 0
          ? { ...topic(aliceId, `${side} ${n}`), type: 'org.example.topic', stateKey: `key${n}` }
          : member(user(`moving${n}`), 'join', user(`moving${n}`), { displayname: side });
      const { event } = room.send(state, fields);
      own.set(stateKeyOf(event.type, event.stateKey ?? ''), event.eventId);
    }
    return own;
  };
  const stateSets = [fork('left'), fork('right')];
  const spent: number[] = [];
  for (let n = 0; n < 15; n += 1) {
    const start = performance.now();
    resolveState({ version: room.version, stateSets, source: room.source() });
    spent.push(performance.now() - start);
  }
  return median(spent);
}
