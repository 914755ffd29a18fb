import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import type { Homeserver } from '../../server/appliance/homeserver.ts';
import { allMigrations } from '../../server/compose.ts';
import { makeDataDir } from '../../server/config/data-dir.ts';
import { isServerName } from '../../server/matrix/identifiers.ts';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import { createRooms } from '../../server/rooms/rooms.ts';
import { openDatabase } from '../../server/storage/database.ts';
import { systemClock } from '../../server/util/clock.ts';
import { silentLogger } from '../../server/util/log.ts';
import { systemRandom } from '../../server/util/random.ts';
import type { Place } from '../kit/test-network.ts';
import { expectOk, type Json, TestClient } from '../kit/test-client.ts';
import { TestAppliance, type TestApplianceOptions } from './appliance-kit.ts';

export const PASSWORD = 'a quiet evening';

const LIMIT = { per_second: 100_000, burst_count: 100_000 };

/** A data directory of a server that limits nobody, unless told; gone when it is disposed of. */
export function roomyDataDir({
  serverName = 'localhost',
  config = {},
  limited = false,
}: {
  serverName?: string;
  /** Options of homeserver.yaml that take the place of others. */
  config?: Readonly<Record<string, unknown>>;
  limited?: boolean;
} = {}): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'hearth-house-'));
  makeDataDir(path, { serverName, clientPort: 0 });
  const file = join(path, 'homeserver.yaml');
  const limits = limited
    ? {}
    : {
        rc_message: LIMIT,
        rc_registration: LIMIT,
        rc_room_creation: LIMIT,
        rc_login: { address: LIMIT, account: LIMIT, failed_attempts: LIMIT },
      };
  const document = parseDocument(readFileSync(file, 'utf8'));
  for (const [name, value] of Object.entries({ ...limits, ...config })) document.set(name, document.createNode(value));
  writeFileSync(file, document.toString());
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Hearth on such a directory. */
export function startRoomy(
  dataDir: { readonly path: string },
  options: Omit<TestApplianceOptions, 'dataDir'> = {},
): Promise<TestAppliance> {
  return TestAppliance.start({ ...options, dataDir: dataDir.path });
}

/** The homeserver, which must run. */
export function homeserverOf(house: TestAppliance): Homeserver {
  const { state } = house.appliance.keeper;
  assert.equal(state.kind, 'running', state.kind === 'failed' ? state.message : 'the homeserver runs');
  return state.kind === 'running' ? state.homeserver : assert.fail();
}

/** Where other servers of a test's network find it. */
export function placeOf(house: TestAppliance): Place {
  return {
    get federationPort() {
      return homeserverOf(house).addresses.find(({ tls, resources }) => tls && resources.includes('federation'))?.port;
    },
  };
}

/** A client of nobody's, where the homeserver now is. */
export function visitor(house: TestAppliance): TestClient {
  return new TestClient({
    get baseUrl() {
      return homeserverOf(house).clientUrl;
    },
  });
}

/** Logs somebody in who has an account. */
export async function logIn(house: TestAppliance, username: string, password = PASSWORD): Promise<TestClient> {
  const body = { type: 'm.login.password', identifier: { type: 'm.id.user', user: username }, password };
  const {
    access_token: token,
    user_id: userId,
    device_id: deviceId,
  } = expectOk(await visitor(house).post('/_matrix/client/v3/login', body));
  return new TestClient(
    {
      get baseUrl() {
        return homeserverOf(house).clientUrl;
      },
    },
    { token, userId, deviceId },
  );
}

/** Makes the account that runs the server, and logs it in. */
export async function moveIn(house: TestAppliance, username: string): Promise<TestClient> {
  await homeserverOf(house).ports.accounts.createAdministrator({ username, password: PASSWORD });
  return logIn(house, username);
}

/** Somebody else comes by an invitation, and logs in. */
export async function welcome(house: TestAppliance, username: string): Promise<TestClient> {
  const { token } = await house.call('POST /invitations', { body: {} });
  expectOk(await visitor(house).post('/_hearth/join', { token, username, password: PASSWORD }));
  return logIn(house, username);
}

/** The texts of a room's messages, the newest first, as a client reads them. */
export async function messagesIn(client: TestClient, roomId: string): Promise<string[]> {
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/messages`;
  const { chunk } = expectOk(await client.get(path, { dir: 'b', limit: 100 }));
  return chunk.filter(({ type }: Json) => type === 'm.room.message').map(({ content }: Json) => content.body);
}

/** What is wrong with the database of a homeserver that does not run, its rooms' contents included. */
export async function findDamage(dataDir: { readonly path: string }, serverName = 'localhost'): Promise<string[]> {
  const db = openDatabase({ path: join(dataDir.path, 'homeserver.db'), migrations: allMigrations, log: silentLogger });
  try {
    assert.ok(isServerName(serverName));
    const rooms = createRooms({
      db,
      clock: systemClock,
      log: silentLogger,
      serverName,
      signingKey: generateSigningKey(systemRandom.bytes(32)),
      projections: [],
    });
    return [...db.integrityCheck(), ...rooms.checkConsistency()];
  } finally {
    await db.close();
  }
}
