import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { prepareChecks } from '../../server/http/validate.ts';
import type { Requester } from '../../server/http/route.ts';
import type { DeviceId, RoomId, ServerName, UserId } from '../../server/matrix/identifiers.ts';
import { isJsonObject } from '../../server/matrix/json.ts';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import { createRooms, migrations, type Rooms } from '../../server/rooms/rooms.ts';
import { openDatabase, type OpenDatabase } from '../../server/storage/database.ts';
import { createSync, type Sync, type SyncNeeds } from '../../server/sync/sync.ts';
import { syncMigrations } from '../../server/sync/token.ts';
import { silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import type { Json } from '../kit/test-client.ts';
import { draft, type Household as RoomKit, versionOf } from '../rooms/room-kit.ts';

const HOME = 'hearth.test' as ServerName;
const signingKey = generateSigningKey(systemRandom.bytes(32));

/** /sync over the rooms themselves, without HTTP between. */
export interface RealHousehold {
  readonly rooms: Rooms;
  readonly sync: Sync;
  readonly db: OpenDatabase;
  readonly clock: ManualClock;
  /** For the helpers that make events of other servers. */
  readonly kit: RoomKit;
  createRoom(creator: UserId, options?: { name?: string; visibility?: string }): Promise<RoomId>;
  syncAs(userId: UserId, query?: Readonly<Record<string, Json>>): Promise<Json>;
}

/** Opens a household in memory; the caller closes it, or the test it is given. */
export function openRealHousehold(
  t?: TestContext,
  options: Partial<SyncNeeds> & { isErased?: (userId: UserId) => boolean } = {},
): RealHousehold {
  const db = openDatabase({ path: ':memory:', migrations: [migrations, syncMigrations], log: silentLogger });
  t?.after(() => db.close());
  const clock = new ManualClock();
  const rooms = createRooms({
    db,
    clock,
    log: silentLogger,
    serverName: HOME,
    signingKey,
    projections: [],
    checkSignatures: () => true,
    isErased: options.isErased ?? (() => false),
  });
  const sync = createSync({
    db,
    clock,
    ...rooms,
    contributions: () => [],
    decorations: () => [],
    ignoredUsers: () => new Set(),
    ...options,
  });
  const route = sync.routes.find(({ path }) => path === '/_matrix/client/v3/sync');
  assert.ok(route);
  const createRoom: RealHousehold['createRoom'] = async (creator, { name, visibility } = {}) => {
    const { roomId } = await rooms.sender.createRoom({
      version: versionOf('12'),
      creator,
      createContent: {},
      events: () => [
        draft.member(creator, creator, 'join', { displayname: 'Creator' }),
        draft.state(creator, 'm.room.power_levels', {
          users: {},
          state_default: 0,
          events_default: 0,
          invite: 0,
          kick: 0,
        }),
        draft.state(creator, 'm.room.join_rules', { join_rule: 'public' }),
        ...(visibility === undefined
          ? []
          : [draft.state(creator, 'm.room.history_visibility', { history_visibility: visibility })]),
        ...(name === undefined ? [] : [draft.state(creator, 'm.room.name', { name })]),
      ],
    });
    return roomId;
  };
  const kit: RoomKit = {
    rooms,
    db,
    clock,
    path: ':memory:',
    send: (roomId, event, sendOptions) => rooms.sender.send({ ...event, roomId }, sendOptions),
    createRoom: () => Promise.reject(new Error('made by the household itself')),
    reopen: () => Promise.reject(new Error('what is in memory cannot be opened again')),
  };
  const syncAs: RealHousehold['syncAs'] = async (userId, { filter, ...query } = {}) => {
    const signal = new AbortController().signal;
    const text = isJsonObject(filter) ? JSON.stringify(filter) : filter;
    // There is no HTTP here that would do it.
    await prepareChecks();
    const answer = await route.handle({
      requester: requesterOf(userId),
      query: { ...query, ...(text === undefined ? {} : { filter: text }) },
      signal,
    } as never);
    return JSON.parse(JSON.stringify(answer));
  };
  return { rooms, sync, db, clock, kit, createRoom, syncAs };
}

function requesterOf(userId: UserId): Requester {
  return {
    userId,
    deviceId: 'DEVICE' as DeviceId,
    tokenId: 1,
    isGuest: false,
    isAdmin: false,
    isSuspended: false,
    appserviceId: undefined,
    rateLimited: true,
  };
}

/** A client as the spec has it: what it makes of one answer after the other. */
export class ModelClient {
  since: string | undefined;
  /** In which section each room was told last. */
  readonly places = new Map<string, string>();
  /** The state of each room: type and state key to event ID. */
  readonly states = new Map<string, Map<string, string>>();
  /** The timeline of each room since its newest gap: event IDs in the order in which they came. */
  readonly timelines = new Map<string, string[]>();

  /** Takes in one answer and gives the IDs of the events in its timelines. */
  accept(answer: Json): string[] {
    const initial = this.since === undefined;
    this.since = answer.next_batch;
    const heard: string[] = [];
    for (const section of ['join', 'leave', 'invite', 'knock']) {
      for (const [roomId, room] of Object.entries<Json>(answer.rooms?.[section] ?? {})) {
        this.places.set(roomId, section);
        if (section === 'join' || section === 'leave') heard.push(...this.#acceptRoom(roomId, room, initial));
      }
    }
    return heard;
  }

  #acceptRoom(roomId: string, room: Json, initial: boolean): string[] {
    const state = this.states.get(roomId) ?? new Map<string, string>();
    this.states.set(roomId, state);
    const after = room.state_after?.events;
    for (const event of [...(after ?? room.state.events), ...(after === undefined ? room.timeline.events : [])]) {
      if (event.state_key !== undefined) state.set(`${event.type}/${event.state_key}`, event.event_id);
    }
    const heard: string[] = room.timeline.events.map((event: Json) => event.event_id);
    const earlier = room.timeline.limited || initial ? [] : (this.timelines.get(roomId) ?? []);
    this.timelines.set(roomId, [...earlier, ...heard]);
    return heard;
  }
}
