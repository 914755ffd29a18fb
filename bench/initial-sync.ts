import { loadConfig } from '../server/config/config.ts';
import { loadSigningKeys } from '../server/config/signing-key.ts';
import { allMigrations, compose } from '../server/compose.ts';
import { buildUserId, type RoomId, type UserId } from '../server/matrix/identifiers.ts';
import { roomVersions } from '../server/matrix/room-versions.ts';
import { openDatabase } from '../server/storage/database.ts';
import { FollowerRunner } from '../server/storage/followers.ts';
import { systemClock } from '../server/util/clock.ts';
import { silentLogger } from '../server/util/log.ts';
import { systemRandom } from '../server/util/random.ts';
import { median } from './figures.ts';
import { LeanClient } from './server-process.ts';

export const ROOMS = 500;
export const MEMBERS = 200;

/**
 * Puts a user into `ROOMS` rooms of `MEMBERS` members each, on the road every event takes, without HTTP, and waits until
 * all that follows events has seen them.
 */
export async function seedRooms(configFile: string, viewer: string): Promise<void> {
  const { config } = loadConfig({ configPath: configFile });
  const db = openDatabase({ path: config.databasePath, migrations: allMigrations, log: silentLogger });
  const signingKeys = loadSigningKeys(config.signing, systemRandom);
  const { rooms, followers } = compose({
    config,
    db,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    signingKeys,
    notaryKeys: undefined,
    version: '0',
  });
  const version = roomVersions.get(config.rooms.defaultVersion);
  const user = (name: string): UserId => {
    const id = buildUserId(name, config.serverName);
    if (id === undefined) throw new Error(`${name} makes no user ID`);
    return id;
  };
  if (version === undefined) throw new Error('the default room version is unknown');
  const creator = user(viewer);
  for (let r = 0; r < ROOMS; r += 1) {
    const { roomId } = await rooms.sender.createRoom({
      version,
      creator,
      createContent: {},
      events: () => [
        { type: 'm.room.member', sender: creator, stateKey: creator, content: { membership: 'join' } },
        { type: 'm.room.power_levels', sender: creator, stateKey: '', content: {} },
        { type: 'm.room.join_rules', sender: creator, stateKey: '', content: { join_rule: 'public' } },
        { type: 'm.room.history_visibility', sender: creator, stateKey: '', content: { history_visibility: 'shared' } },
        { type: 'm.room.name', sender: creator, stateKey: '', content: { name: `Room ${r}` } },
      ],
    });
    await joinMembers(rooms.sender, roomId, user);
    await db.committed();
  }
  const runner = new FollowerRunner({ db, followers, log: silentLogger, clock: systemClock });
  runner.start();
  await runner.idle();
  await runner.stop();
  await db.close();
}

async function joinMembers(
  sender: {
    send(draft: {
      roomId: RoomId;
      type: string;
      sender: UserId;
      stateKey: string;
      content: { membership: string; displayname: string };
    }): Promise<unknown>;
  },
  roomId: RoomId,
  user: (name: string) => UserId,
): Promise<void> {
  for (let m = 1; m < MEMBERS; m += 1) {
    const member = user(`member${m}`);
    await sender.send({
      roomId,
      type: 'm.room.member',
      sender: member,
      stateKey: member,
      content: { membership: 'join', displayname: `Member ${m}` },
    });
  }
}

const FILTER = encodeURIComponent(
  JSON.stringify({ room: { state: { lazy_load_members: true }, timeline: { limit: 10 } } }),
);

/** An initial /sync with members loaded lazily, ms (median of a few), and its size in bytes. */
export async function measureInitialSync(port: number, token: string): Promise<{ ms: number; bytes: number }> {
  const client = new LeanClient(port, token);
  const spent: number[] = [];
  let bytes = 0;
  for (let n = 0; n < 5; n += 1) {
    const start = performance.now();
    const { status, text } = await client.send('GET', `/_matrix/client/v3/sync?filter=${FILTER}`);
    spent.push(performance.now() - start);
    if (status !== 200) throw new Error(`initial sync: ${status} ${text.slice(0, 200)}`);
    bytes = text.length;
  }
  client.close();
  return { ms: median(spent), bytes };
}
