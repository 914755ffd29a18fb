import { LRUCache } from 'lru-cache';
import { FederationError } from '../federation/errors.ts';
import type { FederationClient } from '../federation/types.ts';
import { MatrixError } from '../matrix/errors.ts';
import type { RoomEvent } from '../matrix/events/event.ts';
import { verifyPduSignature } from '../matrix/events/sign.ts';
import { isServerName, type RoomId, type ServerName } from '../matrix/identifiers.ts';
import { isJsonObject, type JsonValue } from '../matrix/json.ts';
import { addSignature } from '../matrix/signing.ts';
import type { Logger } from '../util/log.ts';
import { Gate } from '../util/gate.ts';
import { atMost } from '../util/lru.ts';
import type { MembershipReader, StateReader } from './types.ts';

/** The key is in the room's state, so its ID is the same everywhere. */
const KEY_ID = 'ed25519:policy_server';
const SIGN_PATH = '/_matrix/policy/v1/sign';
const ANSWER_MS = 10_000;
const ANSWER_BYTES = 65_536;
const ANSWERS_KEPT = 2_000;
/** Events one policy server is asked about at a time. */
const ASKED_AT_ONCE = 8;
const SERVERS_KEPT = 100;

/** What a room's policy server makes of an event. */
export type Recommendation =
  /** It may go ahead; with the policy server's signature, where one was needed. */
  | { readonly isRecommended: true; readonly event: RoomEvent }
  /** `error`: the refusal to tell the client whose event it is. */
  | { readonly isRecommended: false; readonly error: MatrixError };

/** Asks for and checks what policy servers say of events. */
export interface PolicyCheck {
  /** Whether events of a room need a recommendation at all. */
  isEnabled(roomId: RoomId): boolean;
  /** What is known without asking: undefined where the policy server has to be asked. */
  find(event: RoomEvent): Recommendation | undefined;
  /** Asks if need be; `find` knows afterwards. Never rejects: a policy server that cannot be asked recommends nothing. */
  ask(event: RoomEvent): Promise<Recommendation>;
}

interface PolicyServer {
  readonly server: ServerName;
  /** Base64. */
  readonly publicKey: string;
}

/** Policy servers of rooms (server-server API, "Policy Servers"). */
export class PolicyServers implements PolicyCheck {
  readonly #state: Pick<StateReader, 'findCurrent'>;
  readonly #members: Pick<MembershipReader, 'listServers'>;
  readonly #client: Pick<FederationClient, 'request'> | undefined;
  readonly #serverName: ServerName;
  readonly #log: Logger;
  /** Answers by policy server, its key and the event's ID. */
  readonly #answers = new LRUCache<string, Recommendation>(atMost(ANSWERS_KEPT));
  readonly #asking = new Map<string, Promise<Recommendation>>();
  readonly #gates = new LRUCache<ServerName, Gate>(atMost(SERVERS_KEPT));

  constructor(parts: {
    state: Pick<StateReader, 'findCurrent'>;
    members: Pick<MembershipReader, 'listServers'>;
    client: Pick<FederationClient, 'request'> | undefined;
    serverName: ServerName;
    log: Logger;
  }) {
    this.#state = parts.state;
    this.#members = parts.members;
    this.#client = parts.client;
    this.#serverName = parts.serverName;
    this.#log = parts.log;
  }

  isEnabled(roomId: RoomId): boolean {
    return this.#findServer(roomId) !== undefined;
  }

  find(event: RoomEvent): Recommendation | undefined {
    const policy = this.#findServer(event.roomId);
    if (policy === undefined || isExempt(event)) return { isRecommended: true, event };
    return this.#answers.get(keyOf(policy, event)) ?? (isSigned(event, policy) ? this.#keep(policy, event) : undefined);
  }

  ask(event: RoomEvent): Promise<Recommendation> {
    const known = this.find(event);
    if (known !== undefined) return Promise.resolve(known);
    const policy = this.#findServer(event.roomId);
    if (policy === undefined) return Promise.resolve({ isRecommended: true, event });
    const key = keyOf(policy, event);
    let asking = this.#asking.get(key);
    if (asking === undefined) {
      asking = this.#gateOf(policy.server)
        .run(() => this.#ask(policy, event))
        .then((answer) => {
          this.#answers.set(key, answer);
          return answer;
        })
        .finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    return asking;
  }

  /** The policy server by the current state: named with its key, and itself in the room. */
  #findServer(roomId: RoomId): PolicyServer | undefined {
    const content = this.#state.findCurrent(roomId, 'm.room.policy', '')?.content;
    if (content === undefined) return undefined;
    const { via: server, public_keys: keys } = content;
    if (typeof server !== 'string' || !isServerName(server) || !isJsonObject(keys)) return undefined;
    const publicKey = keys['ed25519'];
    if (typeof publicKey !== 'string') return undefined;
    return this.#members.listServers(roomId).includes(server) ? { server, publicKey } : undefined;
  }

  #gateOf(server: ServerName): Gate {
    const gate = this.#gates.get(server) ?? new Gate(ASKED_AT_ONCE);
    this.#gates.set(server, gate);
    return gate;
  }

  async #ask(policy: PolicyServer, event: RoomEvent): Promise<Recommendation> {
    const { server } = policy;
    if (this.#client === undefined || server === this.#serverName) return refusal();
    let answer: JsonValue;
    try {
      answer = await this.#client.request({
        destination: server,
        method: 'POST',
        path: SIGN_PATH,
        body: event.pdu,
        timeoutMs: ANSWER_MS,
        maxBytes: ANSWER_BYTES,
      });
    } catch (error) {
      const { roomId, eventId } = event;
      if (!(error instanceof FederationError)) {
        this.#log.error({ server, roomId, eventId, error }, 'asking a policy server failed');
        return refusal();
      }
      this.#log.info({ server, roomId, eventId, kind: error.kind }, 'a policy server does not recommend an event');
      return error.kind === 'refused' ? refusal(error) : refusal();
    }
    const signed = withSignature(event, policy, answer);
    if (signed !== undefined) return { isRecommended: true, event: signed };
    this.#log.info({ server, roomId: event.roomId }, 'a policy server gave no valid signature');
    return refusal();
  }

  #keep(policy: PolicyServer, event: RoomEvent): Recommendation {
    const answer: Recommendation = { isRecommended: true, event };
    this.#answers.set(keyOf(policy, event), answer);
    return answer;
  }
}

/** The one event that no policy server is asked about, so that a room can always be freed from one. */
function isExempt({ type, stateKey }: RoomEvent): boolean {
  return type === 'm.room.policy' && stateKey === '';
}

function isSigned({ pdu, version }: RoomEvent, { server, publicKey }: PolicyServer): boolean {
  return verifyPduSignature(pdu, version, server, KEY_ID, publicKey);
}

/** The event with the signature of the answer beside those it has; undefined if that is not valid. */
function withSignature(event: RoomEvent, policy: PolicyServer, answer: JsonValue): RoomEvent | undefined {
  const own = isJsonObject(answer) && Object.hasOwn(answer, policy.server) ? answer[policy.server] : undefined;
  const signature = isJsonObject(own) ? own[KEY_ID] : undefined;
  if (typeof signature !== 'string') return undefined;
  const signatures = addSignature(event.pdu['signatures'], policy.server, KEY_ID, signature);
  const signed = { ...event, pdu: { ...event.pdu, signatures } };
  return isSigned(signed, policy) ? signed : undefined;
}

function keyOf({ server, publicKey }: PolicyServer, { eventId }: RoomEvent): string {
  return `${server} ${publicKey} ${eventId}`;
}

/** The policy server's own words where it has some (server-server API, "Validating Policy Server signatures"). */
function refusal(error?: FederationError): Recommendation {
  if (error?.errcode === undefined) {
    const message = 'The policy server of this room could not be asked about the event';
    return { isRecommended: false, error: new MatrixError('M_UNKNOWN', message, { status: 503 }) };
  }
  const { errcode, body, status } = error;
  const { error: message, retry_after_ms: retryAfterMs } = isJsonObject(body) ? body : {};
  const words = typeof message === 'string' ? message : 'The policy server of this room refuses the event';
  // It speaks about the event. What a client would take for a word about its own account is not passed on.
  const isAboutAccess = status === 401 || /_TOKEN$|^M_USER_/.test(errcode);
  return {
    isRecommended: false,
    error: new MatrixError(isAboutAccess ? 'M_FORBIDDEN' : errcode, words, {
      fields: typeof retryAfterMs === 'number' ? { retry_after_ms: retryAfterMs } : {},
      ...(isAboutAccess || status === undefined ? {} : { status }),
    }),
  };
}
