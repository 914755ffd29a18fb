import { isJsonObject, type JsonObject, type JsonValue } from '../json.ts';
import type { RoomVersion } from '../room-versions.ts';
import type { Pdu, RoomEvent } from './event.ts';

type RedactionRules = RoomVersion['redaction'];

const KEPT_FROM_V11: readonly string[] = [
  'auth_events',
  'content',
  'depth',
  'event_id',
  'hashes',
  'origin_server_ts',
  'prev_events',
  'room_id',
  'sender',
  'signatures',
  'state_key',
  'type',
];
const KEPT_FROM_V1: readonly string[] = [...KEPT_FROM_V11, 'membership', 'origin', 'prev_state'];

const KEPT: Readonly<Record<RedactionRules, readonly string[]>> = {
  v1: KEPT_FROM_V1,
  v6: KEPT_FROM_V1,
  v8: KEPT_FROM_V1,
  v9: KEPT_FROM_V1,
  v11: KEPT_FROM_V11,
};

/** By event type, the keys of `content` that stay; a type that is not named loses them all. */
type ContentRules = ReadonlyMap<string, readonly string[] | 'all'>;

const POWER_LEVELS: readonly string[] = [
  'ban',
  'events',
  'events_default',
  'kick',
  'redact',
  'state_default',
  'users',
  'users_default',
];
const contentV6: ContentRules = new Map<string, readonly string[]>([
  ['m.room.member', ['membership']],
  ['m.room.create', ['creator']],
  ['m.room.join_rules', ['join_rule']],
  ['m.room.power_levels', POWER_LEVELS],
  ['m.room.history_visibility', ['history_visibility']],
]);
const contentV1: ContentRules = new Map([...contentV6, ['m.room.aliases', ['aliases']]]);
const contentV8: ContentRules = new Map([...contentV6, ['m.room.join_rules', ['join_rule', 'allow']]]);
const contentV9: ContentRules = new Map([
  ...contentV8,
  ['m.room.member', ['membership', 'join_authorised_via_users_server']],
]);
const contentV11: ContentRules = new Map<string, readonly string[] | 'all'>([
  ...contentV9,
  ['m.room.create', 'all'],
  ['m.room.power_levels', [...POWER_LEVELS, 'invite']],
  ['m.room.redaction', ['redacts']],
]);

const CONTENT: Readonly<Record<RedactionRules, ContentRules>> = {
  v1: contentV1,
  v6: contentV6,
  v8: contentV8,
  v9: contentV9,
  v11: contentV11,
};

/**
 * The PDU reduced to what its room's version protects (spec: rooms/v1 … v12, "Redactions"). `unsigned` goes too. Does not
 * need a well-formed PDU, so that signatures can be checked first.
 */
export function redactPdu(pdu: Pdu, version: RoomVersion): Pdu {
  const redacted: Record<string, JsonValue> = pick(pdu, KEPT[version.redaction]);
  const content = redacted['content'];
  if (isJsonObject(content)) redacted['content'] = redactContent(pdu['type'], content, version);
  return redacted;
}

function redactContent(type: JsonValue | undefined, content: JsonObject, version: RoomVersion): JsonObject {
  const kept = typeof type === 'string' ? CONTENT[version.redaction].get(type) : undefined;
  if (kept === undefined) return {};
  if (kept === 'all') return content;
  const redacted = pick(content, kept);
  if (type === 'm.room.member' && version.redaction === 'v11') {
    // The object itself stays even if nothing in it does: other servers hash it so.
    const invite = content['third_party_invite'];
    if (isJsonObject(invite)) redacted['third_party_invite'] = pick(invite, ['signed']);
  }
  return redacted;
}

/** The event as it stands once redacted; its ID stays. */
export function redactEvent(event: RoomEvent): RoomEvent {
  const pdu = redactPdu(event.pdu, event.version);
  const content = pdu['content'];
  return {
    ...event,
    pdu,
    content: isJsonObject(content) ? content : {},
    // A redaction in the old format loses its target, as `redacts` at the top level is not protected.
    redacts: event.version.redactsIn === 'content' ? event.redacts : undefined,
  };
}

function pick(object: JsonObject, keys: readonly string[]): Record<string, JsonValue> {
  const picked: Record<string, JsonValue> = {};
  for (const key of keys) {
    if (!Object.hasOwn(object, key)) continue;
    const value = object[key];
    if (value !== undefined) picked[key] = value;
  }
  return picked;
}
