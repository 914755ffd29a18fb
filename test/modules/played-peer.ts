import assert from 'node:assert/strict';
import { parsePdu } from '../../server/matrix/events/parse.ts';
import { type LogData, type Logger, silentLogger } from '../../server/util/log.ts';
import { HostileRoom } from '../hostile/hostile-room.ts';
import { ManualClock } from '../kit/manual-clock.ts';
import { ScriptedServer } from '../kit/scripted-server.ts';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { eventually, TestNetwork } from '../kit/test-network.ts';
import type { TestServer } from '../kit/test-server.ts';
import { AWAY, FAR, type Fields, keyOf, user } from '../rooms/remote-kit.ts';

/** An EDU as it goes over the wire. */
export interface WireEdu {
  readonly edu_type: string;
  readonly content: Json;
}

/** Alice's server on a clock that the test moves, and two that the test plays: Dora's (away.test) and Fred's (far.test). */
export class Neighbourhood {
  readonly home: TestServer;
  readonly clock: ManualClock;
  readonly network: TestNetwork;
  readonly alice: TestClient;
  readonly away: ScriptedServer;
  readonly far: ScriptedServer;
  #messages = 0;

  constructor(parts: Pick<Neighbourhood, 'home' | 'clock' | 'network' | 'alice' | 'away' | 'far'>) {
    this.home = parts.home;
    this.clock = parts.clock;
    this.network = parts.network;
    this.alice = parts.alice;
    this.away = parts.away;
    this.far = parts.far;
  }

  /** A room of Dora's that Alice has joined. */
  async room(room = new HostileRoom('11')): Promise<HostileRoom> {
    this.away.script(room.script());
    await this.join(room);
    return room;
  }

  async join(room: HostileRoom, who: TestClient = this.alice): Promise<void> {
    expectOk(await who.post(`/_matrix/client/v3/join/${encodeURIComponent(room.roomId)}`, {}, { via: AWAY }));
  }

  /** Something happens in a room elsewhere; resolves when Alice's server has it. */
  async happens(room: HostileRoom, fields: Fields): Promise<string> {
    const { eventId, pdu } = room.send(fields);
    await this.push(room, eventId, pdu);
    return eventId;
  }

  /** An event that was made before is sent. */
  async push(room: HostileRoom, eventId: string, pdu: Json): Promise<void> {
    const { pdus } = expectOk(await this.away.transact(this.home, { pdus: [pdu] }));
    assert.deepEqual(pdus, { [eventId]: {} });
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room.roomId)}/event/${encodeURIComponent(eventId)}`;
    await eventually('the event arrives', async () => (await this.alice.get(path)).status === 200);
  }

  /** A server says something in passing: Dora's unless told. Resolves when it has been dealt with. */
  async say(type: string, content: Json, from: ScriptedServer = this.away): Promise<void> {
    expectOk(await from.transact(this.home, { edus: [{ edu_type: type, content }] }));
  }

  /** What a server answers when Alice leaves a room of its own. */
  letsLeave(room: HostileRoom): void {
    this.away.answer('v1/make_leave', ({ params: [, who = ''] }) => ({ json: room.template(user(who), 'leave') }));
    this.away.answer('v2/send_leave', ({ body }) => {
      const parsed = parsePdu(body, room.version);
      assert.ok(parsed.ok);
      room.take(parsed.event);
      return { json: {} };
    });
  }

  /** What a server was told in passing, of one type, in order: Dora's unless told. */
  told(type: string, by: ScriptedServer = this.away): Json[] {
    const edus = by.heard
      .filter(({ operation }) => operation === 'v1/send')
      .flatMap(({ body }): WireEdu[] => body.edus ?? []);
    return edus.filter(({ edu_type: other }) => other === type).map(({ content }) => content);
  }

  /** Waits until a server was told so many times. */
  async untilTold(type: string, count: number, by: ScriptedServer = this.away): Promise<Json[]> {
    return await eventually(`${by.name} is told of ${count} ${type}`, () => {
      const told = this.told(type, by);
      return told.length >= count && told;
    });
  }

  /** Alice says something in a room, until it is there: what she had done before was told before, if at all. */
  async untilThrough({ roomId }: { readonly roomId: string }, by: ScriptedServer = this.away): Promise<void> {
    this.#messages += 1;
    const body = `message ${this.#messages}`;
    await this.alice.send(roomId, body);
    await eventually('what Alice said arrives', () =>
      by.heard.some(
        (heard) => heard.operation === 'v1/send' && heard.body.pdus.some((pdu: Json) => pdu.content?.body === body),
      ),
    );
  }
}

/** The body of a test: a story of Alice's server and its neighbours, in which nothing takes the server by surprise. */
export function amongNeighbours(
  tell: (neighbours: Neighbourhood) => Promise<void>,
  config: Readonly<Record<string, unknown>> = {},
): () => Promise<void> {
  return async () => {
    const clock = new ManualClock();
    const errors: { readonly sentence: string; readonly data: LogData }[] = [];
    const log: Logger = {
      ...silentLogger,
      error: (data, sentence) => void errors.push({ sentence, data }),
      child: () => log,
    };
    await using set = await TestNetwork.start([], { clock, log: () => log });
    const { network } = set;
    const home = await network.startServer('hearth.test', config);
    await using away = await ScriptedServer.start(network, { name: AWAY, key: keyOf(AWAY), clock });
    await using far = await ScriptedServer.start(network, { name: FAR, key: keyOf(FAR), clock });
    const alice = await home.register('alice');
    await tell(new Neighbourhood({ home, clock, network, alice, away, far }));
    await network.check();
    assert.deepEqual(errors, []);
  };
}

/** What a client is told of a room besides its events, of one type. */
export function ephemeral(answer: Json, roomId: string, type: string): Json[] {
  const events: Json[] = answer.rooms?.join?.[roomId]?.ephemeral?.events ?? [];
  return events.filter((event) => event.type === type).map(({ content }) => content);
}
