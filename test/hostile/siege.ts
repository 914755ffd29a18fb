import assert from 'node:assert/strict';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { allMigrations } from '../../server/compose.ts';
import { parsePdu } from '../../server/matrix/events/parse.ts';
import { requiredSigners, verifyPduSignature } from '../../server/matrix/events/sign.ts';
import { roomVersions } from '../../server/matrix/room-versions.ts';
import { openDatabase } from '../../server/storage/database.ts';
import type { Clock } from '../../server/util/clock.ts';
import { type LogData, type Logger, silentLogger } from '../../server/util/log.ts';
import { ScriptedServer } from '../kit/scripted-server.ts';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { eventually, TestNetwork } from '../kit/test-network.ts';
import type { TestServer } from '../kit/test-server.ts';
import { roomPath } from '../network/room-view.ts';
import { AWAY, FAR, keyOf, signingKeys } from '../rooms/remote-kit.ts';
import { HostileRoom } from './hostile-room.ts';

export interface SiegeOptions {
  readonly config?: Readonly<Record<string, unknown>>;
  readonly clock?: Clock;
  /** Sentences of the log's errors that the story is about. */
  readonly mayReport?: readonly string[];
}

/** Alice's server, and others that mean no good. */
export class Siege {
  readonly network: TestNetwork;
  readonly home: TestServer;
  readonly alice: TestClient;
  /** A room of Alice's that concerns nobody else. */
  readonly quiet: string;
  /** away.test */
  readonly evil: ScriptedServer;
  /** far.test */
  readonly far: ScriptedServer;

  constructor(parts: Pick<Siege, 'network' | 'home' | 'alice' | 'quiet' | 'evil' | 'far'>) {
    this.network = parts.network;
    this.home = parts.home;
    this.alice = parts.alice;
    this.quiet = parts.quiet;
    this.evil = parts.evil;
    this.far = parts.far;
  }

  /** A room of Dora's on the other server, which Alice has joined. */
  async room(version = '11', options?: ConstructorParameters<typeof HostileRoom>[1]): Promise<HostileRoom> {
    const room = new HostileRoom(version, options);
    this.evil.script(room.script());
    await this.join(room);
    return room;
  }

  async join(room: HostileRoom): Promise<void> {
    expectOk(await this.alice.post(`/_matrix/client/v3/join/${encodeURIComponent(room.roomId)}`, {}, { via: AWAY }));
  }

  /** Sends PDUs and gives what became of each. */
  async push(...pdus: readonly Json[]): Promise<Record<string, { error?: string }>> {
    return expectOk(await this.evil.transact(this.home, { pdus })).pdus;
  }

  /** What was said in a room as Alice reads it, in any order. */
  async said(roomId: string): Promise<string[]> {
    return (await this.read(roomId)).map(({ content }) => String(content.body)).sort();
  }

  /** The messages of a room as Alice pages back to them, until she is told that there are no more for now; newest first. */
  async read(roomId: string): Promise<Json[]> {
    const path = roomPath(roomId, 'messages');
    const messages: Json[] = [];
    let from: string | undefined;
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const { chunk, end } = expectOk(await this.alice.get(path, { dir: 'b', limit: 100, from }));
      messages.push(...chunk.filter(({ type }: Json) => type === 'm.room.message'));
      if (end === undefined || end === from) break;
      from = end;
    }
    assert.equal(new Set(messages.map(({ event_id: id }) => id)).size, messages.length, 'nothing is there twice');
    return messages;
  }

  /** Resolves when the other servers have not been asked for anything for a while. */
  async untilSilent(): Promise<void> {
    let heard = -1;
    let polls = 0;
    await eventually('nobody is asked for anything any more', () => {
      const now = this.evil.heard.length + this.far.heard.length;
      polls = now === heard ? polls + 1 : 0;
      heard = now;
      return polls >= SILENT_POLLS;
    });
  }

  /** Says something honest in the room after all else, and waits until Alice reads it: what was sent before is through. */
  async through(room: HostileRoom, body = 'through'): Promise<void> {
    const event = room.speak(body);
    assert.deepEqual((await this.push(event.pdu))[event.eventId], {});
    await this.untilSaid(room, body);
  }

  async untilSaid({ roomId }: HostileRoom, body: string): Promise<void> {
    await eventually(`Alice reads ${body}`, async () => (await this.said(roomId)).includes(body));
  }

  /**
   * While an attack goes on, Alice talks in her own room: she is answered, and never has to wait for long.
   */
  async undisturbed<Result>(attack: () => Promise<Result>): Promise<Result> {
    let isOver = false;
    let longest = 0;
    const attacking = attack().finally(() => {
      isOver = true;
    });
    // It is looked at below, whatever happens in between.
    attacking.catch(() => undefined);
    do {
      const start = performance.now();
      await this.alice.send(this.quiet, 'Nothing happens here');
      longest = Math.max(longest, performance.now() - start);
      if (!isOver) await new Promise((resolve) => setTimeout(resolve, BREATH_MS));
    } while (!isOver);
    const result = await attacking;
    assert.ok(longest < PATIENCE_MS, `Alice had to wait ${Math.round(longest)} ms in her own room`);
    return result;
  }
}

const MOST_PAGES = 30;
/** How often in a row nothing new must have been heard. */
const SILENT_POLLS = 12;
/** How long Alice thinks about her next words. */
const BREATH_MS = 30;
/** What nobody should have to wait for a message to be sent; a busy machine included. */
const PATIENCE_MS = 4_000;

/** The body of a test: a story of Alice's server under siege, which leaves all it keeps whole, and nothing that is not signed. */
export function besieged(tell: (siege: Siege) => Promise<void>, options: SiegeOptions = {}): () => Promise<void> {
  return async () => {
    const { clock, config = {}, mayReport = [] } = options;
    const errors: { readonly sentence: string; readonly data: LogData }[] = [];
    const log: Logger = {
      ...silentLogger,
      error: (data, sentence) => void errors.push({ sentence, data }),
      child: () => log,
    };
    const time = clock === undefined ? {} : { clock };
    await using set = await TestNetwork.start([], { ...time, log: () => log });
    const { network } = set;
    const home = await network.startServer('hearth.test', config);
    await using evil = await ScriptedServer.start(network, { name: AWAY, key: keyOf(AWAY), ...time });
    await using far = await ScriptedServer.start(network, { name: FAR, key: keyOf(FAR), ...time });
    const alice = await home.register('alice');
    const quiet = await alice.createRoom({ name: 'Quiet' });
    const siege = new Siege({ network, home, alice, quiet, evil, far });
    try {
      await tell(siege);
    } catch (error) {
      // What the server reported says more than what its client was told.
      throw errors.length === 0
        ? error
        : new Error(`the server reported ${inspect(errors, { depth: 6 })}`, { cause: error });
    }

    // Whatever happened, the house goes on.
    const last = await alice.send(quiet, 'All is well');
    assert.equal((await siege.read(quiet))[0]?.event_id, last);
    const { verify_keys: own } = expectOk(await evil.ask(home, 'GET', '/_matrix/key/v2/server'));
    await network.check();
    await checkStored(home, own);
    const surprises = errors.filter(({ sentence }) => !mayReport.includes(sentence));
    assert.deepEqual(surprises, [], 'nothing took the server by surprise');
  };
}

/** Every event that a stopped server holds has the format of its room and all the signatures it needs. */
async function checkStored({ dir, serverName }: TestServer, ownKeys: Json): Promise<void> {
  const keys = new Map(Object.entries<Json>(ownKeys).map(([keyId, { key }]) => [keyId, { server: serverName, key }]));
  for (const [server, { keyId, publicKey }] of signingKeys) {
    if (server !== serverName) keys.set(keyId, { server, key: publicKey });
  }
  const db = openDatabase({ path: join(dir, 'homeserver.db'), migrations: allMigrations, log: silentLogger });
  try {
    const events = db.prepareRead<{ pdu: string; version: string }>(
      'SELECT pdu, version FROM events JOIN rooms USING (room_nid)',
    );
    for (const { pdu, version: id } of events.list()) {
      const version = roomVersions.get(id);
      assert.ok(version !== undefined);
      const parsed = parsePdu(JSON.parse(pdu), version, { anyNumberOfReferences: true });
      assert.ok(parsed.ok, `what is stored is an event: ${pdu}`);
      for (const signer of requiredSigners(parsed.event)) {
        const isSigned = [...keys].some(
          ([keyId, { server, key }]) =>
            server === signer && verifyPduSignature(parsed.event.pdu, version, signer, keyId, key),
        );
        assert.ok(isSigned, `what is stored is signed by ${signer}: ${pdu}`);
      }
    }
  } finally {
    await db.close();
  }
}
