import type { TestContext } from 'node:test';
import type { Authentication } from '../../server/http/authenticate.ts';
import { createHttpServer } from '../../server/http/server.ts';
import type { DeviceId, UserId } from '../../server/matrix/identifiers.ts';
import { openDatabase } from '../../server/storage/database.ts';
import { createSync, type Sync, type SyncNeeds } from '../../server/sync/sync.ts';
import { syncMigrations } from '../../server/sync/token.ts';
import type { EventDecoration, SyncContribution } from '../../server/sync/types.ts';
import { silentLogger } from '../../server/util/log.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { expectOk, type Json, TestClient } from '../kit/test-client.ts';
import { LinearRooms } from './linear-rooms.ts';

export const alice = '@alice:hearth.test' as UserId;
export const bob = '@bob:hearth.test' as UserId;
export const carol = '@carol:hearth.test' as UserId;
export const dave = '@dave:hearth.test' as UserId;

/** /sync as it is served, over HTTP and a real database, with rooms a test can do anything to. */
export class Household {
  readonly rooms: LinearRooms;
  readonly sync: Sync;
  readonly clock: ManualClock;
  readonly db: SyncNeeds['db'];
  /** What modules would give. */
  readonly contributions: SyncContribution[];
  readonly decorations: EventDecoration[];
  /** Whom each user ignores. */
  readonly ignored: Map<UserId, ReadonlySet<UserId>>;
  readonly #address: { baseUrl: string };

  constructor(parts: {
    rooms: LinearRooms;
    sync: Sync;
    clock: ManualClock;
    db: SyncNeeds['db'];
    contributions: SyncContribution[];
    decorations: EventDecoration[];
    ignored: Map<UserId, ReadonlySet<UserId>>;
    baseUrl: string;
  }) {
    this.rooms = parts.rooms;
    this.sync = parts.sync;
    this.clock = parts.clock;
    this.db = parts.db;
    this.contributions = parts.contributions;
    this.decorations = parts.decorations;
    this.ignored = parts.ignored;
    this.#address = { baseUrl: parts.baseUrl };
  }

  /** A user's client. Its token says who they are; `guest` and an application service can be had too. */
  client(userId: UserId, options: { device?: string; guest?: boolean } = {}): TestClient {
    const deviceId = options.device ?? 'DEVICE';
    const token = [userId, deviceId, options.guest === true ? 'guest' : 'user'].join('|');
    return new TestClient(this.#address, { token, userId, deviceId });
  }

  /** Resolves when so many requests are being held. */
  async held(count: number): Promise<void> {
    for (let turn = 0; this.sync.notifier.waiting !== count; turn += 1) {
      if (turn > 100_000) throw new Error(`${this.sync.notifier.waiting} requests are held, not ${count}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

/** Opens a household for one test. */
export async function openHousehold(
  t: TestContext,
  options: Partial<
    Pick<SyncNeeds, 'presence' | 'related' | 'published' | 'filterTimelineLimit' | 'excludedRooms'>
  > = {},
): Promise<Household> {
  const db = openDatabase({ path: ':memory:', migrations: [syncMigrations], log: silentLogger });
  const clock = new ManualClock();
  const rooms = new LinearRooms({ db, clock });
  const contributions: SyncContribution[] = [];
  const decorations: EventDecoration[] = [];
  const ignored = new Map<UserId, ReadonlySet<UserId>>();
  const sync = createSync({
    ...options,
    db,
    clock,
    events: rooms,
    state: rooms,
    members: rooms,
    timeline: rooms,
    visibility: rooms,
    sender: rooms,
    contributions: () => contributions,
    decorations: () => decorations,
    ignoredUsers: (userId) => ignored.get(userId) ?? new Set(),
  });
  const server = createHttpServer({
    routes: sync.routes,
    listeners: [
      {
        port: 0,
        bindAddresses: ['127.0.0.1'],
        tls: undefined,
        xForwarded: false,
        resources: ['client'],
        compressed: [],
      },
    ],
    db,
    log: silentLogger,
    clock,
    authenticator: { authenticate: readToken },
  });
  const { addresses } = await server.start();
  t.after(async () => {
    sync.stop();
    await server.stop();
    await db.close();
  });
  const baseUrl = `http://127.0.0.1:${addresses[0]?.port}`;
  return new Household({ rooms, sync, clock, db, contributions, decorations, ignored, baseUrl });
}

function readToken(token: string): Authentication {
  const [userId, deviceId, kind] = token.split('|');
  if (userId === undefined || deviceId === undefined) return { kind: 'unknown' };
  const requester = {
    userId: userId as UserId,
    deviceId: deviceId as DeviceId,
    tokenId: 1,
    isGuest: kind === 'guest',
    isAdmin: false,
    isSuspended: false,
    appserviceId: undefined,
    rateLimited: true,
  };
  return { kind: 'ok', requester };
}

/** One /sync with any parameters; `filter` as an object. */
export async function syncOnce(client: TestClient, query: Readonly<Record<string, Json>> = {}): Promise<Json> {
  const { filter, ...rest } = query;
  return expectOk(
    await client.get('/_matrix/client/v3/sync', {
      ...rest,
      ...(filter === undefined ? {} : { filter: typeof filter === 'string' ? filter : JSON.stringify(filter) }),
    }),
  );
}

/** What the messages of a section say, or their types where they say nothing. */
export function told(section: Json): string[] {
  return (section?.events ?? []).map((event: Json) => event.content.body ?? event.type);
}

/** The types and state keys of a section's events, in order. */
export function keysOf(section: Json): string[] {
  return (section?.events ?? []).map((event: Json) => `${event.type}/${event.state_key}`).sort();
}
