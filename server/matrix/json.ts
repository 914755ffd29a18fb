/** Any value JSON can hold. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;

/** A JSON object whose values may be anything JSON can hold. */
export type JsonObject = { readonly [key: string]: JsonValue };

/** Whether `value`, known to have come from JSON, is an object (and neither null nor an array). */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
