import { checkAuthRules } from '../matrix/auth-rules/check.ts';
import { forbidden, notFound } from '../matrix/errors.ts';
import { buildEvent } from '../matrix/events/build.ts';
import type { ServerName } from '../matrix/identifiers.ts';
import type { JsonObject } from '../matrix/json.ts';
import type { RoomVersion } from '../matrix/room-versions.ts';
import type { SigningKey } from '../matrix/signing.ts';
import type { Database } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import { type Random, randomString } from '../util/random.ts';
import type { EventStore } from './event-store.ts';
import type { RoomHeads } from './extremities.ts';
import type { Gatherer } from './gather.ts';
import { placeInGraph } from './place.ts';
import type { EventDraft } from './types.ts';

/** An event that another server is to complete: where it belongs in the graph, and by what authority. */
export interface EventTemplate {
  readonly version: RoomVersion;
  /** Without ID, hashes and signatures: they are for whoever completes it. */
  readonly event: JsonObject;
}

/** Room versions 1 and 2 need an ID to build with, even for what never leaves this file under that name. */
const OPAQUE_ID_LENGTH = 18;

interface TemplateParts {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly heads: RoomHeads;
  readonly events: EventStore;
  readonly gatherer: Gatherer;
}

/** Events that users of other servers may send into rooms of ours, as far as they can be made here. */
export class EventTemplates {
  readonly #parts: TemplateParts;

  constructor(parts: TemplateParts) {
    this.#parts = parts;
  }

  /**
   * The template of an event as it could be sent right now. Nothing of it is kept.
   * @throws MatrixError M_FORBIDDEN with the auth rule's reason, M_NOT_FOUND for an unknown room, M_BAD_JSON, M_TOO_LARGE
   */
  build(draft: Pick<EventDraft, 'roomId' | 'type' | 'sender' | 'stateKey' | 'content'>): EventTemplate {
    const { db, clock, random, serverName, signingKey, heads, events, gatherer } = this.#parts;
    const { roomId, type, sender, stateKey, content } = draft;
    const head = heads.find(roomId);
    if (head === undefined) throw notFound('Unknown room');
    const { version } = head;
    // The state after a fork may have to be resolved, and is then stored for those who ask next.
    const place = db.write((tx) => placeInGraph(tx, { events, gatherer }, head, draft));
    // Built whole, since the rules look at whole events; our signature stands in for the one it is going to get.
    const event = buildEvent({
      serverName,
      signingKey,
      version,
      roomId,
      type,
      sender,
      content,
      ...(stateKey === undefined ? {} : { stateKey }),
      originServerTs: clock.now(),
      depth: place.depth,
      prevEvents: place.prevEvents,
      authEvents: place.authEvents,
      ...(version.eventIds === 'given' ? { eventIdLocalpart: randomString(random, OPAQUE_ID_LENGTH) } : {}),
    });
    for (const state of new Set([place.stateBefore, head.current])) {
      const verdict = checkAuthRules(event, gatherer.authState(state));
      if (!verdict.allowed) throw forbidden(verdict.reason.charAt(0).toUpperCase() + verdict.reason.slice(1));
    }
    const { event_id: _id, hashes: _hashes, signatures: _signatures, ...template } = event.pdu;
    return { version, event: { ...template, origin: serverName } };
  }
}
