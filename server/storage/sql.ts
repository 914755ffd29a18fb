/**
 * A list as one statement parameter, to be read with json_each: `WHERE user_id IN (SELECT value FROM json_each(?))`.
 * So one prepared statement serves lists of every length.
 */
export function jsonList(values: Iterable<string | number>): string {
  return JSON.stringify([...values]);
}
