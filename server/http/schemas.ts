import type { Static, TObject, TSchema, TUnsafe } from 'typebox';

import {
  isDeviceId,
  isEventId,
  isRoomAlias,
  isRoomId,
  isServerName,
  isUserId,
  type DeviceId,
  type EventId,
  type RoomAlias,
  type RoomId,
  type ServerName,
  type UserId,
} from '../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../matrix/json.ts';
import { Type } from './type.ts';

/*
 * The schemas routes are written with. Where one stands for a checked identifier its static type is that identifier's, so
 * a handler gets `RoomId` and needs no check of its own.
 */

function checkedString<Kind extends string>(is: (text: string) => text is Kind, what: string): TUnsafe<Kind> {
  return Type.Unsafe<Kind>(Type.Refine(Type.String(), is, () => `must be ${what}`));
}

/** `@localpart:server` in the historical grammar, which users of other servers may still have. */
export const userId: TUnsafe<UserId> = checkedString(isUserId, 'a user ID');
/** A room ID with or without a server name. */
export const roomId: TUnsafe<RoomId> = checkedString(isRoomId, 'a room ID');
export const eventId: TUnsafe<EventId> = checkedString(isEventId, 'an event ID');
/** `#localpart:server`. */
export const roomAlias: TUnsafe<RoomAlias> = checkedString(isRoomAlias, 'a room alias');
/** What `/join` and `/knock` take. The sigil tells the two apart. */
export const roomIdOrAlias: TUnsafe<RoomId | RoomAlias> = checkedString(
  (text): text is RoomId | RoomAlias => isRoomId(text) || isRoomAlias(text),
  'a room ID or alias',
);
export const deviceId: TUnsafe<DeviceId> = checkedString(isDeviceId, 'a device ID');
export const serverName: TUnsafe<ServerName> = checkedString(isServerName, 'a server name');

/** Text of at most `maxBytes` bytes of UTF-8; the empty text counts. */
export function text(maxBytes: number): TUnsafe<string> {
  // A UTF-16 unit is at most three bytes of UTF-8, so short text needs no counting.
  const fits = (value: string): boolean => value.length * 3 <= maxBytes || Buffer.byteLength(value) <= maxBytes;
  return Type.Unsafe<string>(Type.Refine(Type.String(), fits, () => `must not be longer than ${maxBytes} bytes`));
}

/** As `text`, but empty text is refused. */
export function nonEmptyText(maxBytes: number): TUnsafe<string> {
  const fits = (value: string): boolean => value.length > 0 && Buffer.byteLength(value) <= maxBytes;
  return Type.Unsafe<string>(Type.Refine(Type.String(), fits, () => `must be text of 1 to ${maxBytes} bytes`));
}

/** An event type: at most 255 bytes (spec: client-server API, "Size limits"), without NUL, which parts our state keys. */
export const eventType: TUnsafe<string> = Type.Unsafe<string>(
  Type.Refine(
    Type.String(),
    (value) => value.length > 0 && Buffer.byteLength(value) <= 255 && !value.includes('\0'),
    () => 'must be an event type of 1 to 255 bytes',
  ),
);
/** A state key: at most 255 bytes (spec: client-server API, "Size limits"); empty more often than not. */
export const stateKey: TUnsafe<string> = text(255);

/** Any JSON object, every key kept. */
export const jsonObject: TUnsafe<JsonObject> = Type.Unsafe<JsonObject>(Type.Object({}));
/** Anything JSON can hold. */
export const jsonValue: TUnsafe<JsonValue> = Type.Unsafe<JsonValue>(Type.Unknown());
/** A body nothing is read from. Whatever keys it has are ignored, as clients do send some. */
export const emptyObject: TObject<Record<never, TSchema>> = Type.Object({});

/** Milliseconds since the Unix epoch, as clients write them. */
export const timestampMs = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
/** A duration in milliseconds. */
export const durationMs = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
/** How many things a client wants at most. The handler caps it: the spec lets servers give fewer, not refuse. */
export const limit = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
/** The direction of pagination. */
export const direction = Type.Union([Type.Literal('b'), Type.Literal('f')]);

/** An object with arbitrary keys whose values all match `values`. */
export function mapOf<V extends TSchema>(values: V): TUnsafe<Readonly<Record<string, Static<V>>>> {
  // Type.Record would run a regular expression over every key.
  return Type.Unsafe<Readonly<Record<string, Static<V>>>>(Type.Object({}, { additionalProperties: values }));
}

/** An object with a user ID for every key. */
export function mapByUser<V extends TSchema>(values: V): TUnsafe<Readonly<Record<UserId, Static<V>>>> {
  const object = Type.Object({}, { additionalProperties: values });
  const keysMatch = (value: object): boolean => Object.keys(value).every(isUserId);
  return Type.Unsafe<Readonly<Record<UserId, Static<V>>>>(
    Type.Refine(object, keysMatch, () => 'must have only user IDs as keys'),
  );
}
