import type { EventId, RoomId, UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../../matrix/json.ts';
import type { PersistedEvent } from '../../../rooms/types.ts';
import { fold, wordsOf } from '../../../util/words.ts';

/** Where the text of an event stands: in `content.body`, `content.name` or `content.topic`. */
export type Field = 'body' | 'name' | 'topic';

export const FIELDS: readonly Field[] = ['body', 'name', 'topic'];

/** Text of an event that can be searched. */
export interface EventText {
  readonly field: Field;
  readonly text: string;
}

/** What can be found: one event, with the words it is found by. */
export interface NewDocument {
  readonly eventId: EventId;
  readonly roomId: RoomId;
  readonly sender: UserId;
  /** The edit that the words are from. */
  readonly editId: EventId | undefined;
  /** When it was said, ms. */
  readonly ts: number;
  readonly field: Field;
  readonly words: string;
}

/** The start of a text, in UTF-16 units, that is searched; longer ones are logs and the like. */
const INDEXED_LENGTH = 20_000;

/** What an event says by itself (spec: "Server Side Search", "room_events"). Undefined for what is not searched. */
export function textOf({ type, stateKey, content }: PersistedEvent): EventText | undefined {
  switch (type) {
    case 'm.room.message':
      return stateKey === undefined ? asText('body', [content['body']]) : undefined;
    case 'm.room.name':
      return stateKey === '' ? asText('name', [content['name']]) : undefined;
    case 'm.room.topic':
      return stateKey === '' ? asText('topic', [content['topic'], plainTopic(content)]) : undefined;
    default:
      return undefined;
  }
}

/** What an edit makes of the event it is for. */
export function textOfEdit({ content }: PersistedEvent): EventText | undefined {
  const replacement = content['m.new_content'];
  return isJsonObject(replacement) ? asText('body', [replacement['body']]) : undefined;
}

/** The words of a text, as the index has them. */
export function indexedWords({ text }: EventText): string {
  return wordsOf(fold(text.slice(0, INDEXED_LENGTH)));
}

/** The event an edit is for (spec: "Event replacements"); undefined for what is no edit. */
export function editedBy({ content }: Pick<PersistedEvent, 'content'>): EventId | undefined {
  const relation = content['m.relates_to'];
  if (!isJsonObject(relation) || relation['rel_type'] !== 'm.replace') return undefined;
  const parent = relation['event_id'];
  return typeof parent === 'string' ? (parent as EventId) : undefined;
}

/** How an event goes into the index, with its edit if it has one. */
export function documentOf(event: PersistedEvent, edit: PersistedEvent | undefined): NewDocument | undefined {
  if (event.verdict !== 'accepted' || event.redactedBy !== undefined || editedBy(event) !== undefined) return undefined;
  const own = textOf(event);
  const shown = own !== undefined && edit !== undefined ? textOfEdit(edit) : own;
  const words = shown === undefined ? '' : indexedWords(shown);
  if (shown === undefined || words === '') return undefined;
  return {
    eventId: event.eventId,
    roomId: event.roomId,
    sender: event.sender,
    editId: edit?.eventId,
    // Nobody gets to the top by living in the future.
    ts: Math.min(event.originServerTs, event.receivedTs),
    field: shown.field,
    words,
  };
}

function asText(field: Field, values: readonly unknown[]): EventText | undefined {
  const texts = new Set(values.filter((value) => typeof value === 'string'));
  return texts.size === 0 ? undefined : { field, text: [...texts].join('\n') };
}

/** The plain representation of a topic, in `m.topic` (spec: m.room.topic). */
function plainTopic(content: JsonObject): unknown {
  const topic = content['m.topic'];
  const representations = isJsonObject(topic) ? topic['m.text'] : undefined;
  if (!Array.isArray(representations)) return undefined;
  const plain = representations
    .filter(isJsonObject)
    .find(({ mimetype }) => mimetype === undefined || mimetype === 'text/plain');
  return plain?.['body'];
}
