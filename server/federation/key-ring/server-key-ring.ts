import type { RoomEvent } from '../../matrix/events/event.ts';
import { referenceText } from '../../matrix/events/hash.ts';
import { requiredSigners } from '../../matrix/events/sign.ts';
import type { ServerName } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import { type KeyId, type NamedSignature, signaturesOf, signedText } from '../../matrix/signing.ts';
import type { Clock } from '../../util/clock.ts';
import type { KeyRing } from '../types.ts';
import { addWishes, type KeyFetch, type KeyFetcher } from './key-fetcher.ts';
import type { KeyStore } from './key-store.ts';
import { LONGEST_VALIDITY_MS, MAX_KEY_ID_LENGTH, type ServerKey } from './server-keys.ts';
import type { SignatureToVerify, VerifyPool } from './verify-pool.ts';

/** What became of the signatures of one server. */
export type SignatureVerdict =
  /** At least one was made with a key that counts, and all of those are right. */
  | 'valid'
  | 'wrong'
  /** None was made with a key that is known and was valid then. */
  | 'no-key';

/** Which keys count. */
interface Validity {
  /** They must not have run out before, ms. */
  readonly at: number;
  /** Keys the server does not sign with any more do not count, whatever the time. */
  readonly current: boolean;
}

export interface KeyRingNeeds {
  readonly serverName: ServerName;
  readonly ownKeys: { readonly keys: ReadonlyMap<KeyId, ServerKey> };
  readonly store: KeyStore;
  readonly fetcher: Pick<KeyFetcher, 'fetch'>;
  readonly pool: VerifyPool;
  readonly clock: Clock;
}

/** One signature that has to be there. */
interface Requirement {
  readonly server: ServerName;
  readonly signatures: readonly NamedSignature[];
  readonly validity: Validity;
}

/** Of one server's signatures on one thing, how many are verified, and for how many a key is fetched. */
const SIGNATURES_VERIFIED = 10;
const KEYS_FETCHED = 5;
/** Keys of one server that are asked for at once. */
const KEYS_PER_FETCH = 20;
/** A fetch that was under way for something else is followed by one of our own, not by a third. */
const ROUNDS = 2;
/** Requirements looked at between two looks at the time. */
const STRIDE = 50;
/** Events verified side by side for one caller. */
const WORKERS = 16;
/** What a policy server signs with is in the room's state, never among its published keys (spec: "Policy Servers"). */
const POLICY_SERVER_KEY = 'ed25519:policy_server';

/** The keys of all servers: known ones from the store, others fetched when something was signed with them. */
export class ServerKeyRing implements KeyRing {
  readonly #needs: KeyRingNeeds;

  constructor(needs: KeyRingNeeds) {
    this.#needs = needs;
  }

  /** Whether keys of `server` are held, good or not: asking about it need not cost a fetch. */
  holdsKeysOf(server: ServerName): boolean {
    return this.#keysOf(server).size > 0;
  }

  async verifyJson(server: ServerName, json: JsonObject, { validAt }: { validAt?: number } = {}): Promise<boolean> {
    const validity = validAt === undefined ? this.#now() : { at: validAt, current: false };
    const requirement = { server, signatures: signaturesOf(json, server), validity };
    return (await this.#verify(requirement, () => signedText(json))) === 'valid';
  }

  /**
   * What becomes of signatures that stand beside what they sign, made with keys that must be valid now. The text is
   * written only if there is a key; CanonicalJsonError from it means `wrong`.
   */
  verifySignatures(
    server: ServerName,
    signatures: readonly NamedSignature[],
    text: () => string,
  ): Promise<SignatureVerdict> {
    return this.#verify({ server, signatures, validity: this.#now() }, text);
  }

  async checkEvent(event: RoomEvent): Promise<boolean> {
    const [valid = false] = await this.checkEvents([event]);
    return valid;
  }

  async checkEvents(events: readonly RoomEvent[]): Promise<boolean[]> {
    const { pool } = this.#needs;
    const requirements: (readonly Requirement[])[] = [];
    for (const [index, event] of events.entries()) {
      if (index % STRIDE === 0) await pool.breathe();
      requirements.push(requirementsOf(event));
    }
    await this.#ensure(requirements.flat());

    const valid = events.map(() => false);
    let next = 0;
    const work = async (): Promise<void> => {
      for (let index = next++; index < events.length; index = next++) {
        const event = events[index];
        const required = requirements[index];
        if (event !== undefined && required !== undefined) valid[index] = await this.#checkEvent(event, required);
      }
    };
    await Promise.all(Array.from({ length: Math.min(WORKERS, events.length) }, work));
    return valid;
  }

  async #checkEvent(event: RoomEvent, required: readonly Requirement[]): Promise<boolean> {
    // A third-party invite of room version 3 on needs none: what vouches for it is `signed` in its content.
    if (required.length === 0) return true;
    const signatures: SignatureToVerify[] = [];
    for (const requirement of required) {
      const usable = this.#listUsable(requirement);
      if (usable.length === 0) return false;
      signatures.push(...usable);
    }
    return this.#needs.pool.verify(() => referenceText(event.pdu, event.version), signatures);
  }

  async #verify(requirement: Requirement, text: () => string): Promise<SignatureVerdict> {
    await this.#ensure([requirement]);
    const usable = this.#listUsable(requirement);
    if (usable.length === 0) return 'no-key';
    return (await this.#needs.pool.verify(text, usable)) ? 'valid' : 'wrong';
  }

  #now(): Validity {
    return { at: this.#needs.clock.now(), current: true };
  }

  #keysOf(server: ServerName): ReadonlyMap<KeyId, ServerKey> {
    const { serverName, ownKeys, store } = this.#needs;
    return server === serverName ? ownKeys.keys : store.find(server);
  }

  /** The signatures made with keys that count; the others are skipped, as the spec says of unknown and expired keys. */
  #listUsable({ server, signatures, validity }: Requirement): SignatureToVerify[] {
    const keys = this.#keysOf(server);
    const usable: SignatureToVerify[] = [];
    for (const { keyId, signature } of signatures) {
      const key = keys.get(keyId);
      if (key === undefined || key.validUntil < validity.at || (validity.current && key.expired)) continue;
      usable.push({ signature, publicKey: key.publicKey });
      if (usable.length === SIGNATURES_VERIFIED) break;
    }
    return usable;
  }

  /** Fetches keys for those requirements that no known key meets. */
  async #ensure(requirements: readonly Requirement[]): Promise<void> {
    let lacking = requirements;
    for (let round = 0; round < ROUNDS; round += 1) {
      const wishes = await this.#listWishes(lacking);
      lacking = wishes.lacking;
      const fetches: KeyFetch[] = [];
      for (const [server, wanted] of wishes.wanted) {
        const fetch = this.#needs.fetcher.fetch(server, wanted);
        if (fetch !== undefined) fetches.push(fetch);
      }
      await Promise.all(fetches.map(({ done }) => done));
      if (fetches.every(({ complete }) => complete)) return;
    }
  }

  async #listWishes(
    requirements: readonly Requirement[],
  ): Promise<{ lacking: readonly Requirement[]; wanted: ReadonlyMap<ServerName, ReadonlyMap<KeyId, number>> }> {
    const { serverName, clock, pool } = this.#needs;
    const lacking: Requirement[] = [];
    const wanted = new Map<ServerName, Map<KeyId, number>>();
    // No key is ever valid for longer, so for what claims to be signed later than that, none need be fetched.
    const latest = clock.now() + LONGEST_VALIDITY_MS;
    for (const [index, requirement] of requirements.entries()) {
      if (index % STRIDE === 0) await pool.breathe();
      const { server, validity } = requirement;
      if (server === serverName || validity.at > latest || this.#listUsable(requirement).length > 0) continue;
      const fetchable = listFetchable(requirement);
      if (fetchable.size === 0) continue;
      lacking.push(requirement);
      const all = wanted.get(server) ?? new Map<KeyId, number>();
      wanted.set(server, all);
      if (all.size < KEYS_PER_FETCH) addWishes(all, fetchable);
    }
    return { lacking, wanted };
  }
}

function requirementsOf(event: RoomEvent): Requirement[] {
  // Room versions 1 to 4 do not ask when a key was valid.
  const validity = { at: event.version.enforceKeyValidity ? event.originServerTs : 0, current: false };
  return requiredSigners(event).map((server) => ({ server, signatures: signaturesOf(event.pdu, server), validity }));
}

function listFetchable({ signatures, validity }: Requirement): ReadonlyMap<KeyId, number> {
  const fetchable = new Map<KeyId, number>();
  for (const { keyId } of signatures) {
    if (keyId === POLICY_SERVER_KEY || keyId.length > MAX_KEY_ID_LENGTH) continue;
    fetchable.set(keyId, validity.at);
    if (fetchable.size === KEYS_FETCHED) break;
  }
  return fetchable;
}
