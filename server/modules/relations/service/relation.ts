import { isEventId, type EventId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../../matrix/json.ts';

/** What an event says of its parent (spec: client-server API, "Forming relationships between events"). */
export interface Relation {
  readonly parentId: EventId;
  readonly relType: string;
  /** What an annotation adds to its parent, an emoji as a rule. */
  readonly key: string | undefined;
}

export const REPLACE = 'm.replace';
export const ANNOTATION = 'm.annotation';
export const REFERENCE = 'm.reference';
export const THREAD = 'm.thread';

/** As long as a type may be; a longer name is no relation anybody knows. */
const MAX_REL_TYPE_BYTES = 255;

/** The relation in an event's content, if there is one of the right form. A rich reply alone is none: it has no kind. */
export function readRelation(content: JsonObject): Relation | undefined {
  const relatesTo = content['m.relates_to'];
  if (!isJsonObject(relatesTo)) return undefined;
  const { rel_type: relType, event_id: parentId, key } = relatesTo;
  if (typeof relType !== 'string' || Buffer.byteLength(relType) > MAX_REL_TYPE_BYTES) return undefined;
  if (typeof parentId !== 'string' || !isEventId(parentId)) return undefined;
  return { parentId, relType, key: typeof key === 'string' ? key : undefined };
}
