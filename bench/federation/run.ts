/**
 * Measures the traffic with other servers, which a process beside this one plays, over real connections and with real
 * signatures; each figure beside a floor measured in the same run (see bench/run.ts for the rest, and for why).
 *
 * Usage: node bench/federation/run.ts [--quick] [--only inbound,join,outbound,backfill] [--profile DIR]
 */
import { parseArgs } from 'node:util';
import { milliseconds, perSecond, printTable, type Row, times } from '../figures.ts';
import { DEAD, DESTINATIONS, EVENTS, measureOutbound } from './outbound.ts';
import { HISTORY, measureBackfill } from './backfill.ts';
import { measureFloors } from './floors.ts';
import type { Measured } from './house-messages.ts';
import { type HouseOptions, HouseProcess } from './house-process.ts';
import { enterRooms, type Inbound, measureInbound, type Shape } from './inbound.ts';
import { measureJoin } from './joins.ts';
import { PlayedRoom } from './played-room.ts';
import { PlayedServers } from './played-servers.ts';

const { values } = parseArgs({
  options: { quick: { type: 'boolean' }, only: { type: 'string' }, profile: { type: 'string' } },
});
const quick = values.quick === true;
const only = values.only?.split(',');
const isWanted = (name: string): boolean => only?.includes(name) ?? true;
const options: HouseOptions = { profileDir: values.profile };
const INBOUND = quick ? 2_000 : 5_000;
const MANY_ROOMS = 50;
const CONFLICTS = quick ? 200 : 500;

const rows: Row[] = [];
const floors = measureFloors();
const { verifyMs, parseMs, commitMs } = floors;
// An event is written twice: when it is taken, and when it gets its place.
const floorMs = verifyMs + parseMs + 2 * commitMs;
console.log('Floors: what this machine needs for the bare thing, for each of 50 events.');
console.log(`  their signatures verified         ${milliseconds(verifyMs)}`);
console.log(`  the text of them parsed           ${milliseconds(parseMs)}`);
console.log(`  an insert of them with its commit ${milliseconds(commitMs)}`);
console.log('');

await using peers = await PlayedServers.start();
if (isWanted('inbound')) await inboundRows();
if (isWanted('join')) await joinRows();
if (isWanted('outbound')) await outboundRows();
if (isWanted('backfill')) await backfillRows();
console.log('');
printTable(rows);

function add(what: string, figure: string, budget: string, ratio: string, { stall, cpuMs }: Measured): void {
  const held = `loop held ${milliseconds(stall.wallMs)}, worked ${milliseconds(stall.cpuMs)}`;
  rows.push({ what, figure, budget, ratio: [ratio, held, `cpu ${milliseconds(cpuMs)}`].filter(Boolean).join('; ') });
  console.log(`${what}: ${figure} (${ratio}; ${held})`);
}

function addInbound(what: string, inbound: Inbound): void {
  const ratio = times(1000 / inbound.perSecond, floorMs, '(verify + parse + 2 commits)');
  add(what, perSecond(inbound.perSecond), '1,000/s', ratio, inbound.measured);
}

async function inboundRows(): Promise<void> {
  await using house = await HouseProcess.start(peers, options);
  const client = await house.register('alice');
  const measure = async (what: string, count: number, shape: Shape): Promise<void> => {
    const rooms = Array.from({ length: count }, () => new PlayedRoom({ members: 50, servers: 10 }));
    await enterRooms(peers, client, rooms);
    addInbound(what, await measureInbound(house, client, rooms, { count: INBOUND, shape }));
  };
  await measure('(warming up)', 1, 'chain');
  await measure('events of one room', 1, 'chain');
  await measure(`events of ${MANY_ROOMS} rooms`, MANY_ROOMS, 'chain');
  await measure('events of one room, each tenth forks', 1, 'forks');
  await measure('the same, with conflicting state', 1, 'state forks');
  client.close();
}

async function joinRows(): Promise<void> {
  const sizes = [1_000, 10_000];
  const perEvent: number[] = [];
  for (const members of sizes) {
    const join = await measureJoin(peers, { members, conflicts: CONFLICTS }, options);
    const memory = `${Math.round(join.measured.peakBytes / 1e6)} MB at most`;
    const floor = times(join.usableMs, members * floorMs, '(verify + parse + 2 commits)');
    add(
      `join of a room of ${members} members, until usable`,
      milliseconds(join.usableMs),
      members === 10_000 ? '5,000 ms' : '',
      `${floor}; ${memory}`,
      join.measured,
    );
    addInbound(`events with conflicting state in a room of ${members}`, join.conflicts);
    perEvent.push(1000 / join.conflicts.perSecond);
  }
  const [small = Number.NaN, large = Number.NaN] = perEvent;
  console.log(`an event costs ${(large / small).toFixed(2)} × as much in a room of ten times the size`);
}

async function outboundRows(): Promise<void> {
  await using house = await HouseProcess.start(peers, options);
  const client = await house.register('alice');
  const { alone, sends, deliveredMs, measured } = await measureOutbound(house, peers, client);
  add(
    `a send to ${DESTINATIONS} servers, ${DEAD} of them dead, p50`,
    milliseconds(sends.sendMs),
    '',
    times(sends.sendMs, alone.sendMs, 'a send to nobody else'),
    sends.measured,
  );
  add(
    `${EVENTS} such events at ${DESTINATIONS - DEAD} servers`,
    milliseconds(deliveredMs),
    '',
    times(measured.cpuMs, alone.measured.cpuMs, 'the CPU of sends to nobody else'),
    measured,
  );
  client.close();
}

async function backfillRows(): Promise<void> {
  await using house = await HouseProcess.start(peers, options);
  const client = await house.register('alice');
  const { ms, measured } = await measureBackfill(house, peers, client);
  const floor = times(ms, HISTORY * floorMs, '(verify + parse + 2 commits)');
  add(`${HISTORY} events from before the join`, milliseconds(ms), '', floor, measured);
  client.close();
}
