import { checkRedaction } from '../matrix/auth-rules/redaction.ts';
import { redactPdu } from '../matrix/events/redact.ts';
import type { RoomEvent } from '../matrix/events/event.ts';
import type { EventId } from '../matrix/identifiers.ts';
import { readPowerLevels } from '../matrix/power-levels.ts';
import type { Database, ReadStatement, WriteStatement, WriteTx } from '../storage/types.ts';
import type { EventStore, StoredEvent } from './event-store.ts';
import type { StateGroupId, StateGroups } from './state-groups.ts';

/** What an accepted redaction does now. */
export type RedactionEffect =
  | { readonly kind: 'apply'; readonly target: StoredEvent }
  /** The target is not here yet. */
  | { readonly kind: 'wait'; readonly targetId: EventId }
  /** It names nothing it may redact, and never will. */
  | { readonly kind: 'none' };

/** Redactions: which take effect, and when (spec: rooms/v3, "Handling redactions"; rooms/v1 for what came before). */
export class Redactions {
  readonly #events: EventStore;
  readonly #groups: StateGroups;
  readonly #listWaiting: ReadStatement<{ event_nid: number }>;
  readonly #insertWaiting: WriteStatement;
  readonly #removeWaiting: WriteStatement;

  constructor({ db, events, groups }: { db: Database; events: EventStore; groups: StateGroups }) {
    this.#events = events;
    this.#groups = groups;
    this.#listWaiting = db.prepareRead(
      'SELECT event_nid FROM waiting_redactions WHERE target_id = ? ORDER BY event_nid',
    );
    this.#insertWaiting = db.prepareWrite('INSERT INTO waiting_redactions (target_id, event_nid) VALUES (?, ?)');
    this.#removeWaiting = db.prepareWrite('DELETE FROM waiting_redactions WHERE target_id = ?');
  }

  /** What `redaction` does, given the state before it. */
  effectOf(redaction: RoomEvent, stateBefore: StateGroupId): RedactionEffect {
    if (redaction.redacts === undefined) return { kind: 'none' };
    const target = this.#events.find(redaction.redacts);
    // An outlier has not been judged as part of the room; it is checked again when it is.
    if (target === undefined || target.outlier) return { kind: 'wait', targetId: redaction.redacts };
    return this.#takesEffect(redaction, target, stateBefore) ? { kind: 'apply', target } : { kind: 'none' };
  }

  wait(tx: WriteTx, redaction: StoredEvent, targetId: EventId): void {
    this.#insertWaiting.run(tx, targetId, redaction.nid);
  }

  /** Those that waited for this event and now take effect, oldest first; none of them waits any longer. */
  takeWaiting(tx: WriteTx, target: StoredEvent): StoredEvent[] {
    const waiting = this.#listWaiting.list(target.eventId);
    if (waiting.length === 0) return [];
    this.#removeWaiting.run(tx, target.eventId);
    return waiting
      .map(({ event_nid: nid }) => this.#events.getByNid(nid))
      .filter(({ stateBefore, ...redaction }) =>
        stateBefore === undefined ? false : this.#takesEffect(redaction, target, stateBefore),
      );
  }

  /** Prunes the target; an event that was redacted before stays as it is. `ts` in ms. */
  apply(tx: WriteTx, redaction: StoredEvent, target: StoredEvent, ts: number): StoredEvent {
    if (target.redactedBy !== undefined) return target;
    return this.#events.redact(tx, target, redaction, redactPdu(target.pdu, target.version), ts);
  }

  #takesEffect(redaction: RoomEvent, target: StoredEvent, stateBefore: StateGroupId): boolean {
    if (target.verdict === 'rejected') return false;
    const find = (type: string): StoredEvent | undefined => {
      const nid = this.#groups.find(stateBefore, type, '');
      return nid === undefined ? undefined : this.#events.getByNid(nid);
    };
    const levels = readPowerLevels(find('m.room.create'), find('m.room.power_levels'));
    return checkRedaction(redaction, target, levels).allowed;
  }
}
