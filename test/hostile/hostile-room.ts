import assert from 'node:assert/strict';
import { FederationError } from '../../server/federation/errors.ts';
import { encodeBase64 } from '../../server/matrix/base64.ts';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import { contentHashText, referenceHashBase64, referenceText, sha256 } from '../../server/matrix/events/hash.ts';
import { type EventId, isServerName, serverNameOf, type UserId } from '../../server/matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../server/matrix/json.ts';
import { type SigningKey, signText } from '../../server/matrix/signing.ts';
import type { Heard, Script } from '../kit/scripted-server.ts';
import { AWAY, dora, type Fields, keyOf, member, type Play } from '../rooms/remote-kit.ts';
import { ToldRoom } from '../rooms/told-room.ts';

/** A room on a server that means no good; besides what is right, anything can be made for it that looks like an event. */
export class HostileRoom extends ToldRoom {
  static #count = 0;
  #forged = 0;
  #right: { readonly after: RoomEvent | undefined; readonly pdu: JsonObject } | undefined;

  constructor(version: string, options: ConstructorParameters<typeof ToldRoom>[1] = {}) {
    // In room version 12 the same create event would be the same room.
    HostileRoom.#count += 1;
    super(version, { ...options, create: { 'test.room': HostileRoom.#count, ...options.create } });
  }

  /** A message of Dora's after the latest event, as it should be; made once for each latest event. */
  #pattern(): JsonObject {
    if (this.#right === undefined || this.#right.after !== this.latest) {
      const { pdu } = this.build({
        type: 'm.room.message',
        sender: dora,
        content: { msgtype: 'm.text', body: 'forged' },
      });
      this.#right = { after: this.latest, pdu };
    }
    return this.#right.pdu;
  }

  /** Dora says something: the room is as it was, and one event longer. */
  speak(body: string, sender: UserId = dora): RoomEvent {
    return this.send({ type: 'm.room.message', sender, content: { msgtype: 'm.text', body } });
  }

  /** A well-made event that nobody else is told of: it does not become part of the room. */
  secret(fields: Fields, options?: Parameters<ToldRoom['build']>[1]): RoomEvent {
    return this.build(fields, options);
  }

  /**
   * Something like an event, hashed and signed as it is, however wrong: a message of Dora's after the latest event unless
   * `changes` say otherwise. A change to undefined takes a key away.
   */
  forge(changes: Readonly<Record<string, JsonValue | undefined>>, options: ForgeOptions = {}): JsonObject {
    const { signatures: _signatures, hashes: _hashes, ...right } = this.#pattern();
    this.#forged += 1;
    // No two of them are the same.
    const time = { origin_server_ts: Number(right['origin_server_ts']) + this.#forged };
    const all = Object.entries<JsonValue | undefined>({ ...right, ...time, ...changes });
    const pdu = Object.fromEntries(all.filter(([, value]) => value !== undefined)) as JsonObject;
    return this.seal(pdu, options);
  }

  /** Hashes and signs whatever it is. */
  seal(pdu: JsonObject, { key, signer }: ForgeOptions = {}): JsonObject {
    const { signatures: _signatures, ...rest } = pdu;
    const loose = { ...this.version, strictCanonicalJson: false };
    const hashes = { sha256: encodeBase64(sha256(contentHashText(rest, loose))) };
    const hashed: JsonObject = { ...rest, hashes };
    const name = signer ?? signerOf(rest['sender']);
    const signing = key ?? keyOf(AWAY);
    return { ...hashed, signatures: { [name]: { [signing.keyId]: signText(referenceText(hashed, loose), signing) } } };
  }

  /** How an event of this room names another. */
  refer(event: RoomEvent): JsonValue {
    const { eventId, pdu, version } = event;
    return version.references === 'pairs' ? [eventId, { sha256: referenceHashBase64(pdu, version) }] : eventId;
  }

  /** The way it plays on the wire: joins, and everything about its past. */
  script(also?: Play): Script {
    const play = this.play((asked) => also?.(asked) ?? this.#missing(asked.operation, asked.request.body));
    return scriptOf(play);
  }

  #missing(operation: string, body: JsonValue | undefined): JsonValue | undefined {
    if (operation !== 'v1/get_missing_events' || !isJsonObject(body)) return undefined;
    const { latest_events: latest, earliest_events: earliest, limit } = body;
    assert.ok(Array.isArray(latest) && Array.isArray(earliest) && typeof limit === 'number');
    const known = new Set<unknown>([...earliest, ...latest]);
    const found = this.backwards(latest, limit + latest.length).filter(({ eventId }) => !known.has(eventId));
    return { events: found.reverse().map(({ pdu }) => pdu) };
  }

  /** Users of a server join; gives their events. */
  crowd(count: number, server = 'away.test'): RoomEvent[] {
    return Array.from({ length: count }, (_, at) => this.send(member(`@u${at}:${server}` as UserId, 'join')));
  }
}

export interface ForgeOptions {
  /** The key of away.test unless told. */
  readonly key?: SigningKey;
  /** The server in whose name it is signed: the sender's unless told. */
  readonly signer?: string;
}

function signerOf(sender: JsonValue | undefined): string {
  const name = typeof sender === 'string' ? sender.slice(sender.indexOf(':') + 1) : '';
  return isServerName(name) ? name : AWAY;
}

/** A play, as rooms' own tests have it, on the wire. */
export function scriptOf(play: Play): Script {
  return async (heard) => {
    const { operation, params, method, path, body } = heard;
    const server = serverNameOf(dora);
    const request = { destination: server, method: method as 'GET', path, query: queryOf(heard), body };
    try {
      const answer = await play({ server, method, operation, params, request });
      if (answer === undefined) return undefined;
      return typeof answer === 'object' && answer !== null && 'pieces' in answer
        ? { pieces: answer.pieces as Iterable<string> }
        : { json: answer };
    } catch (error) {
      if (!(error instanceof FederationError)) throw error;
      return { status: error.status ?? 500, json: error.body ?? {} };
    }
  };
}

function queryOf({ query }: Heard): Record<string, string | number | readonly string[]> {
  const entries = [...new Set(query.keys())].map((name): [string, string | number | readonly string[]] => {
    if (name === 'v' || name === 'ver') return [name, query.getAll(name)];
    const value = query.get(name) ?? '';
    return [name, name === 'limit' ? Number(value) : value];
  });
  return Object.fromEntries(entries);
}

/** An event ID that looks right in rooms from version 4 on, and names nothing. */
export function nothing(at: number): EventId {
  return `$${Buffer.from(`nothing ${at}`.padEnd(32, '.')).toString('base64url')}` as EventId;
}
