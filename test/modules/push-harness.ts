import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Requester } from '../../server/http/route.ts';
import { createHttpServer } from '../../server/http/server.ts';
import { isDeviceId, type RoomId, type UserId } from '../../server/matrix/identifiers.ts';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import { migrations as pushMigrations, push } from '../../server/modules/push/index.ts';
import { migrations as receiptMigrations, receipts } from '../../server/modules/receipts/index.ts';
import { createRooms, migrations as roomMigrations } from '../../server/rooms/rooms.ts';
import type { Projection } from '../../server/rooms/types.ts';
import { openDatabase } from '../../server/storage/database.ts';
import { createSync } from '../../server/sync/sync.ts';
import { syncMigrations } from '../../server/sync/token.ts';
import type { SyncContribution } from '../../server/sync/types.ts';
import { silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { expectOk, type Json, TestClient } from '../kit/test-client.ts';
import { alice, draft, HOME, type Household, versionOf } from '../rooms/room-kit.ts';

/** The rooms of a household, which other servers send to as well, with push and receipts behind real HTTP. */
export interface PushHouse {
  readonly home: Household;
  readonly push: ReturnType<typeof push>;
  /** A public room of Alice's that these have joined. */
  readonly roomOf: (members: readonly UserId[], visibility?: string) => Promise<RoomId>;
  readonly client: (userId: UserId) => TestClient;
  /** How many notifications a full answer of /sync says are unread. */
  readonly unread: (userId: UserId, roomId: RoomId) => Promise<number>;
  readonly read: (userId: UserId, roomId: RoomId, eventId: string) => Promise<void>;
}

/** Starts one, until the test is over. */
export async function pushHouse(t: TestContext): Promise<PushHouse> {
  const dir = mkdtempSync(join(tmpdir(), 'hearth-push-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const clock = new ManualClock();
  const path = join(dir, 'homeserver.db');
  const db = openDatabase({
    path,
    migrations: [roomMigrations, syncMigrations, receiptMigrations, pushMigrations],
    log: silentLogger,
  });
  t.after(() => db.close());
  const projections: Projection[] = [];
  const contributions: SyncContribution[] = [];
  const rooms = createRooms({
    db,
    clock,
    log: silentLogger,
    serverName: HOME,
    signingKey: generateSigningKey(systemRandom.bytes(32)),
    projections,
    checkSignatures: () => true,
  });
  const ignoredUsers = (): ReadonlySet<UserId> => new Set();
  const sync = createSync({
    db,
    clock,
    ...rooms,
    contributions: () => contributions,
    decorations: () => [],
    ignoredUsers,
  });
  const threads = { threadOfEvent: () => 'main' };
  const pushModule = push({
    ...rooms,
    db,
    clock,
    log: silentLogger,
    serverName: HOME,
    threads,
    ignoredUsers,
    formatter: sync.formatter,
    random: systemRandom,
    http: { post: () => Promise.reject(new Error('nobody here has a pusher')) },
    settings: { enabled: true, includeContent: true, countRooms: true, jitterMs: 0 },
  });
  const receiptsModule = receipts({
    ...rooms,
    db,
    clock,
    rooms: rooms.members,
    threads,
    sender: { send: () => undefined },
    setFullyRead: () => undefined,
    onRead: (tx, receipt) => pushModule.onRead(tx, receipt),
  });
  const modules = [pushModule, receiptsModule];
  projections.push(...(pushModule.projections ?? []));
  for (const module of modules) contributions.push(...(module.sync ?? []));

  const requesters = new Map<string, Requester>();
  const http = createHttpServer({
    routes: [...sync.routes, ...modules.flatMap((module) => module.routes ?? [])],
    listeners: [{ port: 0, bindAddresses: ['127.0.0.1'], tls: undefined, xForwarded: false, resources: ['client'] }],
    db,
    log: silentLogger,
    clock,
    authenticator: {
      authenticate: (token) => {
        const requester = requesters.get(token);
        return requester === undefined ? { kind: 'unknown' } : { kind: 'ok', requester };
      },
    },
  });
  const { addresses } = await http.start();
  t.after(async () => {
    sync.stop();
    await http.stop();
  });
  const address = { baseUrl: `http://127.0.0.1:${addresses[0]?.port}` };

  const home: Household = {
    rooms,
    db,
    clock,
    path,
    send: async (roomId, event, options) => {
      clock.setWallClock(clock.now() + 1000);
      return rooms.sender.send({ ...event, roomId }, options);
    },
    createRoom: async ({ version = '12', joinRule = 'public', visibility = 'shared', more = [] } = {}) => {
      const { roomId } = await rooms.sender.createRoom({
        version: versionOf(version),
        creator: alice,
        createContent: {},
        events: () => [
          draft.member(alice, alice, 'join'),
          draft.state(alice, 'm.room.power_levels', {}),
          draft.state(alice, 'm.room.join_rules', { join_rule: joinRule }),
          draft.state(alice, 'm.room.history_visibility', { history_visibility: visibility }),
          ...more,
        ],
      });
      return roomId;
    },
    reopen: () => Promise.reject(new Error('this house stays open')),
  };
  const client = (userId: UserId): TestClient => {
    const token = `token-${Buffer.from(userId).toString('hex')}`;
    const deviceId = 'PHONE';
    requesters.set(token, {
      userId,
      deviceId: isDeviceId(deviceId) ? deviceId : undefined,
      tokenId: 1,
      isGuest: false,
      isAdmin: false,
      isSuspended: false,
      appserviceId: undefined,
      rateLimited: true,
    });
    return new TestClient(address, { token, userId, deviceId });
  };
  return {
    home,
    push: pushModule,
    roomOf: async (members, visibility = 'shared') => {
      const more = members.map((member) => draft.member(member, member, 'join'));
      return home.createRoom({ visibility, more });
    },
    client,
    unread: async (userId, roomId) => {
      const room: Json = (await client(userId).sync()).rooms.join[roomId];
      return room.unread_notifications.notification_count;
    },
    read: async (userId, roomId, eventId) => {
      const room = encodeURIComponent(roomId);
      const receipt = `/_matrix/client/v3/rooms/${room}/receipt/m.read/${encodeURIComponent(eventId)}`;
      expectOk(await client(userId).post(receipt));
    },
  };
}
