import { badJson, MatrixError, unknownError } from '../../../matrix/errors.ts';
import type { EventDraft, EventReader, PersistedEvent } from '../../../rooms/types.ts';
import type { RelationStore } from '../store.ts';
import { ANNOTATION, readRelation, THREAD } from './relation.ts';

/** Longest key of an annotation that a client of ours may send, in UTF-16 units. */
const MAX_KEY_LENGTH = 500;
/** Annotations of one sender on one event that are compared with a new one. */
const MOST_COMPARED = 1_000;

/** What a client may relate to what. Other servers' events are taken as they come: a bad relation is merely ignored. */
export interface RelationRules {
  /**
   * @throws MatrixError M_UNKNOWN (400) for a parent that is unknown or in another room, and for a thread begun at an
   * event that itself relates to one; M_BAD_JSON for an annotation without a key, or with a long one
   */
  check(draft: Pick<EventDraft, 'roomId' | 'content'>): void;
  /**
   * Runs in the write that stores the event, so that of two at once the second is undone.
   * @throws MatrixError M_DUPLICATE_ANNOTATION if the sender has annotated the same event in the same way before
   */
  checkStored(event: PersistedEvent): void;
}

export function relationRules(needs: {
  readonly events: Pick<EventReader, 'findEvent'>;
  readonly store: RelationStore;
}): RelationRules {
  const { events, store } = needs;
  return {
    check({ roomId, content }) {
      const relation = readRelation(content);
      if (relation === undefined) return;
      const { parentId, relType, key } = relation;
      const parent = events.findEvent(parentId);
      if (parent === undefined) {
        // A client may know of an event that we do not hold from another one that relates to it.
        if (!store.isParent(parentId, roomId)) throw unknownError('The event that this one relates to is not known');
      } else if (parent.roomId !== roomId) {
        throw unknownError('Events can only relate to events of their own room');
      }
      if (relType === ANNOTATION) {
        if (key === undefined) throw badJson('An annotation needs a key');
        if (key.length > MAX_KEY_LENGTH)
          throw badJson(`The key of an annotation has at most ${MAX_KEY_LENGTH} characters`);
      }
      // Spec: "Validation of m.thread relationships".
      if (relType === THREAD && parent !== undefined && readRelation(parent.content) !== undefined) {
        throw unknownError('A thread cannot begin at an event that itself relates to another');
      }
    },

    checkStored(event) {
      const relation = readRelation(event.content);
      if (relation?.relType !== ANNOTATION) return;
      const { parentId, key } = relation;
      const isSame = (other: PersistedEvent | undefined): boolean =>
        other !== undefined && other.type === event.type && readRelation(other.content)?.key === key;
      for (const otherId of store.listBySender(parentId, ANNOTATION, event.sender, MOST_COMPARED)) {
        if (otherId === event.eventId || !isSame(events.findEvent(otherId))) continue;
        // Spec: "Avoiding duplicate annotations".
        throw new MatrixError('M_DUPLICATE_ANNOTATION', 'You have annotated this event in the same way before');
      }
    },
  };
}
