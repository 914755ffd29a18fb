import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext } from 'node:test';
import { authEventKeys } from '../../server/matrix/auth-rules/auth-events.ts';
import { buildEvent } from '../../server/matrix/events/build.ts';
import { type RoomEvent, splitStateKey } from '../../server/matrix/events/event.ts';
import { referenceHashBase64 } from '../../server/matrix/events/hash.ts';
import { verifyPduSignature, requiredSigners } from '../../server/matrix/events/sign.ts';
import {
  type DeviceId,
  type EventId,
  isDeviceId,
  isServerName,
  isUserId,
  type RoomId,
  type ServerName,
  type UserId,
} from '../../server/matrix/identifiers.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import { type RoomVersion, roomVersions } from '../../server/matrix/room-versions.ts';
import { generateSigningKey, type SigningKey } from '../../server/matrix/signing.ts';
import { createRooms, migrations, type Rooms, type RoomsOptions } from '../../server/rooms/rooms.ts';
import type { EventDraft, PersistedEvent, SendOptions } from '../../server/rooms/types.ts';
import { type OpenDatabase, openDatabase } from '../../server/storage/database.ts';
import { silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';

export const HOME = serverName('hearth.test');
export const AWAY = serverName('away.test');
export const alice = userId('@alice:hearth.test');
export const bob = userId('@bob:hearth.test');
export const carol = userId('@carol:hearth.test');
/** A user of the other server. */
export const dora = userId('@dora:away.test');
export const phone = deviceId('PHONE');
export const laptop = deviceId('LAPTOP');

const homeKey = generateSigningKey(systemRandom.bytes(32));
const awayKey = generateSigningKey(systemRandom.bytes(32));
const keys = new Map<ServerName, SigningKey>([
  [HOME, homeKey],
  [AWAY, awayKey],
]);

export function userId(text: string): UserId {
  if (!isUserId(text)) throw new TypeError(`${text} is no user ID`);
  return text;
}

function serverName(text: string): ServerName {
  if (!isServerName(text)) throw new TypeError(`${text} is no server name`);
  return text;
}

function deviceId(text: string): DeviceId {
  if (!isDeviceId(text)) throw new TypeError(`${text} is no device ID`);
  return text;
}

export function versionOf(id: string): RoomVersion {
  const version = roomVersions.get(id);
  if (version === undefined) throw new TypeError(`there is no room version ${id}`);
  return version;
}

type Draft = Omit<EventDraft, 'roomId'>;

/** Drafts of the events tests send most. */
export const draft = {
  message: (sender: UserId, body: string): Draft => ({
    type: 'm.room.message',
    sender,
    content: { msgtype: 'm.text', body },
  }),
  state: (sender: UserId, type: string, content: JsonObject, stateKey = ''): Draft => ({
    type,
    sender,
    content,
    stateKey,
  }),
  member: (sender: UserId, target: UserId, membership: string, more: JsonObject = {}): Draft => ({
    type: 'm.room.member',
    sender,
    stateKey: target,
    content: { membership, ...more },
  }),
  redaction: (sender: UserId, redacts: EventId): Draft => ({ type: 'm.room.redaction', sender, content: {}, redacts }),
};

/** A household with its own database on disk, gone when the test is over. */
export interface Household {
  readonly rooms: Rooms;
  readonly db: OpenDatabase;
  readonly clock: ManualClock;
  readonly path: string;
  /** Sends one event at one more second. */
  send(roomId: RoomId, event: Draft, options?: SendOptions): Promise<PersistedEvent>;
  /** A room of Alice's, with power levels and a join rule. */
  createRoom(options?: { version?: string; joinRule?: string; visibility?: string; more?: Draft[] }): Promise<RoomId>;
  /** Closes the database and opens it again, with nothing kept in memory. */
  reopen(): Promise<Household>;
}

/** Opens a household. */
export function household(
  t: TestContext,
  options: Partial<
    Pick<
      RoomsOptions,
      'projections' | 'isErased' | 'purge' | 'redactionRetentionMs' | 'prejoinState' | 'dummyEventsThreshold'
    >
  > = {},
): Household {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-rooms-'));
  const opened: OpenDatabase[] = [];
  t.after(async () => {
    for (const db of opened) await db.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const path = join(directory, 'homeserver.db');
  const clock = new ManualClock();

  const open = (): Household => {
    const db = openDatabase({ path, migrations: [migrations], log: silentLogger });
    opened.push(db);
    const rooms = createRooms({
      db,
      clock,
      log: silentLogger,
      serverName: HOME,
      signingKey: homeKey,
      projections: [],
      ...options,
      checkSignatures: isSigned,
    });
    return {
      rooms,
      db,
      clock,
      path,
      send: async (roomId, event, sendOptions) => {
        clock.setWallClock(clock.now() + 1000);
        return rooms.sender.send({ ...event, roomId }, sendOptions);
      },
      createRoom: async ({ version = '12', joinRule = 'public', visibility, more = [] } = {}) => {
        const roomVersion = versionOf(version);
        const levels = roomVersion.privilegedCreators ? {} : { [alice]: 100 };
        clock.setWallClock(clock.now() + 1000);
        const { roomId } = await rooms.sender.createRoom({
          version: roomVersion,
          creator: alice,
          createContent: {},
          events: () => [
            draft.member(alice, alice, 'join', { displayname: 'Alice' }),
            draft.state(alice, 'm.room.power_levels', { users: levels }),
            draft.state(alice, 'm.room.join_rules', { join_rule: joinRule }),
            ...(visibility === undefined
              ? []
              : [draft.state(alice, 'm.room.history_visibility', { history_visibility: visibility })]),
            ...more,
          ],
        });
        return roomId;
      },
      reopen: async () => {
        await db.close();
        return open();
      },
    };
  };
  return open();
}

function isSigned(event: RoomEvent): boolean {
  return requiredSigners(event).every((server) => {
    const key = keys.get(server);
    return key !== undefined && verifyPduSignature(event.pdu, event.version, server, key.keyId, key.publicKey);
  });
}

/** An event as the other server would make it: where in the graph, and by what authority, is up to the test. */
export function remoteEvent(
  { rooms, clock }: Household,
  roomId: RoomId,
  event: Draft,
  { after, auth, at = clock.now() }: { after: readonly PersistedEvent[]; auth?: readonly RoomEvent[]; at?: number },
): RoomEvent {
  const room = rooms.events.findRoom(roomId);
  const [first] = after;
  if (room === undefined || first === undefined) throw new TypeError('the room or what the event follows is unknown');
  const { version } = room;
  const state = rooms.state.stateAfter(first.eventId);
  const { type, sender, content, stateKey } = event;
  const selected = authEventKeys({ type, sender, content, stateKey, version }).map((key) => {
    const { type: authType, stateKey: authKey } = splitStateKey(key);
    const id = state?.find(authType, authKey);
    return id === undefined ? undefined : rooms.events.findEvent(id);
  });
  const refer = (to: RoomEvent): EventId | { eventId: EventId; sha256: string } =>
    version.references === 'pairs' ? { eventId: to.eventId, sha256: referenceHashBase64(to.pdu, version) } : to.eventId;
  return buildEvent({
    serverName: AWAY,
    signingKey: awayKey,
    version,
    roomId,
    type,
    sender,
    content,
    ...(stateKey === undefined ? {} : { stateKey }),
    ...(event.redacts === undefined ? {} : { redacts: event.redacts }),
    originServerTs: at,
    depth: Math.max(...after.map(({ depth }) => depth)) + 1,
    prevEvents: after.map(refer),
    authEvents: (auth ?? selected.filter((found) => found !== undefined)).map(refer),
    ...(version.eventIds === 'given' ? { eventIdLocalpart: `r${systemRandom.bytes(8).toString('hex')}` } : {}),
  });
}

/** Hands a remote event in and gives what became of it. @throws Error if it was not stored. */
export async function receive(home: Household, event: RoomEvent): Promise<PersistedEvent> {
  const acceptance = await home.rooms.inbox.accept(event.pdu);
  if (acceptance.kind !== 'stored') throw new Error(`the event was ${JSON.stringify(acceptance)}`);
  return acceptance.event;
}

/** What somebody said, in order. */
export function bodies(events: readonly PersistedEvent[]): unknown[] {
  return events.filter(({ type }) => type === 'm.room.message').map(({ content }) => content['body']);
}
