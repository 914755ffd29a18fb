import type { UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../../matrix/json.ts';

/** Keys as servers exchange them: without what is not signed, and with the signatures of their owner alone. */
export function withOwnSignatures(keys: JsonObject, owner: UserId): JsonObject {
  const { unsigned: _unsigned, signatures, ...rest } = keys;
  if (!isJsonObject(signatures)) return rest;
  const own = Object.hasOwn(signatures, owner) ? signatures[owner] : undefined;
  return { ...rest, signatures: own === undefined ? {} : { [owner]: own } };
}
