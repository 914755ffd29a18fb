import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import type { EventId } from '../../server/matrix/identifiers.ts';
import {
  authChainDifferenceByWalking,
  runToEnd,
  walkConflictedSubgraph,
} from '../../server/matrix/state-resolution/event-source.ts';
import { mainlineOrder, reverseTopologicalPowerOrder } from '../../server/matrix/state-resolution/topological-order.ts';
import { alice, eventId, TestRoom } from './event-builder.ts';

interface Node {
  readonly id: string;
  readonly cites?: readonly string[];
  readonly ts?: number;
  readonly power?: number;
}

function graph(nodes: readonly Node[]) {
  const room = new TestRoom('11');
  const power = new Map<EventId, number>();
  for (const { id, cites = [], ts = 0, power: level = 0 } of nodes) {
    const auth = cites.map((cited) => eventId(`$${cited}`));
    power.set(room.event({ id, type: 't', stateKey: id, sender: alice, auth, ts }).eventId, level);
  }
  const get = (id: EventId): RoomEvent | undefined => room.events.get(id);
  return {
    events: room.events,
    power,
    get,
    ids: (...names: readonly string[]) => names.map((name) => eventId(`$${name}`)),
  };
}

const names = (ids: Iterable<EventId>): string => [...ids].map((id) => id.slice(1)).join(' ');

function powerOrder(nodes: readonly Node[]): string {
  const { events, power } = graph(nodes);
  const order = reverseTopologicalPowerOrder(events, (event) => power.get(event.eventId) ?? 0);
  return names(runToEnd(order).map((event) => event.eventId));
}

test('the power ordering puts auth events first, then power, then age, then event ID', () => {
  assert.equal(powerOrder([{ id: 'b' }, { id: 'c' }, { id: 'a' }]), 'a b c');
  assert.equal(
    powerOrder([
      { id: 'a', ts: 3 },
      { id: 'b', ts: 1 },
      { id: 'c', ts: 2 },
    ]),
    'b c a',
  );
  assert.equal(
    powerOrder([
      { id: 'a', ts: 1 },
      { id: 'b', ts: 9, power: 50 },
      { id: 'c', power: 9 },
    ]),
    'b c a',
  );
  const cited = [{ id: 'strong', power: 100, cites: ['weak'] }, { id: 'weak' }, { id: 'middle', power: 50 }];
  assert.equal(powerOrder(cited), 'middle weak strong');
  const infinite = Number.POSITIVE_INFINITY;
  assert.equal(
    powerOrder([
      { id: 'b', power: infinite },
      { id: 'a', power: infinite },
      { id: 'c', power: 1 },
    ]),
    'a b c',
  );
  assert.equal(powerOrder([]), '');
});

test('event IDs are compared by code point, not by UTF-16 unit', () => {
  assert.equal(powerOrder([{ id: '😀' }, { id: '\uffee' }]), '\uffee 😀');
});

test('an auth event that is listed twice, or not part of the matter, holds nothing up', () => {
  assert.equal(powerOrder([{ id: 'b', cites: ['a', 'a', 'elsewhere'] }, { id: 'a' }]), 'a b');
});

test('events that cite each other in a ring come to no end, but neither does the ordering hang', () => {
  assert.equal(powerOrder([{ id: 'a', cites: ['b'] }, { id: 'b', cites: ['a'] }, { id: 'c' }]), 'c');
});

function byMainline(nodes: readonly Node[], base: string | undefined, sorted: readonly string[]): string {
  const { get, ids } = graph(nodes);
  const behind = (event: RoomEvent) => event.authEvents.map(get).find((cited) => cited?.stateKey?.startsWith('levels'));
  const events = ids(...sorted).flatMap((id) => get(id) ?? []);
  const start = base === undefined ? undefined : get(eventId(`$${base}`));
  return names(runToEnd(mainlineOrder(events, start, behind)).map((event) => event.eventId));
}

const mainline: readonly Node[] = [
  { id: 'levels1' },
  { id: 'levels2', cites: ['levels1'] },
  { id: 'levels3', cites: ['levels2'] },
  { id: 'levels2-fork', cites: ['levels1'] },
  { id: 'levels-alone' },
];

test('the mainline ordering goes from the oldest power levels to the newest', () => {
  const nodes = [
    ...mainline,
    { id: 'by3', cites: ['levels3'], ts: 1 },
    { id: 'by1', cites: ['levels1'], ts: 3 },
    { id: 'by2', cites: ['levels2'], ts: 2 },
    { id: 'by-fork', cites: ['levels2-fork'], ts: 4 },
    { id: 'by-none', ts: 6 },
    { id: 'by-alone', cites: ['levels-alone'], ts: 5 },
  ];
  const all = ['by3', 'by1', 'by2', 'by-fork', 'by-none', 'by-alone'];
  assert.equal(byMainline(nodes, 'levels3', all), 'by-alone by-none by1 by-fork by2 by3');
  // Without a base nothing is on the mainline, and age decides.
  assert.equal(byMainline(nodes, undefined, all), 'by3 by2 by1 by-fork by-alone by-none');
});

test('at the same place on the mainline, age and then the event ID decide', () => {
  const nodes = [
    ...mainline,
    { id: 'b', cites: ['levels2'], ts: 1 },
    { id: 'a', cites: ['levels2'], ts: 1 },
    { id: 'c', cites: ['levels2'], ts: 0 },
  ];
  assert.equal(byMainline(nodes, 'levels3', ['b', 'a', 'c']), 'c a b');
});

test('power levels that cite each other in a ring do not hang the mainline', () => {
  const ring = [
    { id: 'levels1', cites: ['levels2'] },
    { id: 'levels2', cites: ['levels1'] },
    { id: 'levels3', cites: ['levels4'] },
    { id: 'levels4', cites: ['levels3'] },
    { id: 'a', cites: ['levels1'] },
    { id: 'b', cites: ['levels3'] },
  ];
  assert.equal(byMainline(ring, 'levels1', ['a', 'b']), 'b a');
});

test('the auth chain difference is what some states reach and others do not', () => {
  const { get, ids } = graph([
    { id: 'root' },
    { id: 'shared', cites: ['root'] },
    { id: 'left1', cites: ['shared'] },
    { id: 'left2', cites: ['left1'] },
    { id: 'right', cites: ['root'] },
    { id: 'both', cites: ['left1'] },
  ]);
  const difference = authChainDifferenceByWalking(get);
  const found = (...sets: readonly (readonly EventId[])[]) => names([...difference(sets)].toSorted());
  assert.equal(found(ids('left2'), ids('right')), 'left1 left2 right shared');
  assert.equal(found(ids('left2', 'shared'), ids('right', 'shared')), 'left1 left2 right');
  // What one state only cites is reached by the other that holds it.
  assert.equal(found(ids('left2'), ids('left1')), 'left2');
  assert.equal(found(ids('left2'), ids('both'), ids('right')), 'both left1 left2 right shared');
  assert.equal(found(ids('left2', 'both'), ids('right', 'both')), 'left2 right');
  assert.equal(found(ids('left2'), ids('left2')), '');
  assert.equal(found(ids('left2')), '');
  assert.equal(found(), '');
  assert.equal(found(ids('left1'), ids('unknown')), 'left1 root shared unknown');
});

test('the conflicted subgraph is every path from one conflicted event to another', () => {
  const { get, ids } = graph([
    { id: 'root' },
    { id: 'low', cites: ['root'] },
    { id: 'via1', cites: ['low'] },
    { id: 'via2', cites: ['low', 'root'] },
    { id: 'top', cites: ['via1', 'via2', 'aside'] },
    { id: 'aside', cites: ['root'] },
    { id: 'above', cites: ['top'] },
  ]);
  const found = (...conflicted: readonly string[]) =>
    names([...runToEnd(walkConflictedSubgraph(get, new Set(ids(...conflicted))))].toSorted());
  assert.equal(found('top', 'low'), 'low top via1 via2');
  assert.equal(found('top', 'root'), 'aside low root top via1 via2');
  assert.equal(found('via1', 'via2'), 'via1 via2');
  assert.equal(found('top', 'unknown'), 'top unknown');
  assert.equal(found(), '');
});
