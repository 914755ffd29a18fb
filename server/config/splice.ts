import { isDeepStrictEqual } from 'node:util';
import { type Document, isAlias, isCollection, isMap, isNode, isScalar, isSeq, type Pair, stringify } from 'yaml';
import type { Node, YAMLMap, YAMLSeq } from 'yaml';
import type { JsonValue } from '../matrix/json.ts';

/*
 * Changes of a YAML text at the one place that is meant: all else stays as it was written, to the byte. Each gives undefined
 * for what is written in a way it does not deal with. Whoever calls reads the result again, and compares.
 */

/** One line, whatever is in it. */
const INLINE = { version: '1.1', lineWidth: 0, flowCollectionPadding: false, blockQuote: false } as const;

/** The text with an option set. `document` is what the text was parsed to. */
export function spliceIn(
  text: string,
  document: Document,
  path: readonly string[],
  value: JsonValue,
): string | undefined {
  if (document.contents === null) return `${withEnd(text)}${block(path, value, 0, newline(text))}`;
  let map: unknown = document.contents;
  for (const [depth, name] of path.entries()) {
    if (isSeq(map)) {
      map = map.items[Number(name)];
      continue;
    }
    if (!isMap(map)) return undefined;
    const pair = findPair(map, name);
    const rest = path.slice(depth);
    if (pair === undefined) return addPair(text, map, rest, value);
    const present = pair.value;
    if (depth === path.length - 1) return replaceValue(text, pair, value);
    if (isMap(present) || isSeq(present)) map = present;
    else return isEmpty(present) ? fillEmpty(text, pair, rest.slice(1), value) : undefined;
  }
  return undefined;
}

/** The text without an option, and without the mappings that would be empty then. Lines that are remarks stay. */
export function spliceOut(text: string, document: Document, path: readonly string[]): string | undefined {
  let map: unknown = document.contents;
  let doomed: Pair | undefined;
  for (const name of path) {
    if (map === null) return text;
    if (!isMap(map) || map.flow === true) return undefined;
    const pair = findPair(map, name);
    if (pair === undefined) return text;
    // What is alone in its mapping takes the mapping along.
    if (doomed === undefined || map.items.length > 1) doomed = pair;
    map = pair.value;
  }
  const key = doomed?.key;
  if (doomed === undefined || !isNode(key) || !key.range) return undefined;
  const start = lineStart(text, key.range[0]);
  if (text.slice(start, key.range[0]).trim() !== '') return undefined;
  const end = endOfPair(text, doomed);
  const remarks = isCollection(doomed.value) ? remarkLines(text.slice(start, end)) : '';
  return `${text.slice(0, start)}${remarks}${text.slice(end)}`;
}

function findPair(map: YAMLMap, name: string): Pair | undefined {
  return map.items.find(({ key }) => isScalar(key) && key.value === name);
}

/** A key with nothing behind its colon. */
function isEmpty(value: unknown): boolean {
  return value === null || (isScalar(value) && value.value === null && value.anchor === undefined);
}

/** Where the value of an empty key would begin: behind the colon. */
function afterColon(text: string, pair: Pair): number | undefined {
  const { key } = pair;
  if (!isNode(key) || !key.range) return undefined;
  const colon = text.indexOf(':', key.range[1]);
  return colon === -1 || text.slice(key.range[1], colon).trim() !== '' ? undefined : colon + 1;
}

function replaceValue(text: string, pair: Pair, value: JsonValue): string | undefined {
  const present = pair.value;
  if (isAlias(present)) return undefined;
  if (isNode(present) && present.anchor !== undefined) return undefined;
  if (isSeq(present) && present.flow !== true && Array.isArray(value)) return replaceItems(text, pair, present, value);
  if (isCollection(present) && present.flow !== true) return undefined;
  const inline = asInline(value);
  if (inline === undefined) return undefined;
  const written = isNode(present) ? present.range : undefined;
  if (!written || (isEmpty(present) && written[0] === written[1])) {
    const at = afterColon(text, pair);
    return at === undefined ? undefined : `${text.slice(0, at)} ${inline}${text.slice(at)}`;
  }
  const [start, end] = written;
  // A text of several lines ends with a line's end that belongs to what comes after it.
  const ending = text[end - 1] === '\n' && text[start] !== '"' ? newline(text) : '';
  return `${text.slice(0, start)}${inline}${ending}${text.slice(end)}`;
}

/** The items of a list with a line for each: those that stay keep their lines, and what was remarked above or beside them. */
function replaceItems(text: string, pair: Pair, seq: YAMLSeq, values: readonly JsonValue[]): string | undefined {
  const eol = newline(text);
  const places: { value: unknown; start: number; own: number; end: number }[] = [];
  for (const item of seq.items) {
    if (!isNode(item) || !item.range || item.anchor !== undefined || isAlias(item)) return undefined;
    const dash = text.lastIndexOf('-', item.range[0] - 1);
    const own = lineStart(text, dash);
    if (text.slice(own, dash).trim() !== '') return undefined;
    const start = places.at(-1)?.end ?? own;
    places.push({ value: item.toJSON(), start, own, end: endOfNode(text, item) });
  }
  const [first] = places;
  const last = places.at(-1);
  if (first === undefined || last === undefined) return undefined;
  const dash = text.indexOf('-', first.own);
  const indent = text.slice(first.own, dash);
  const kept = new Set<number>();
  const lines: { of: number | undefined; text: string }[] = [];
  for (const value of values) {
    const of = places.findIndex((place, index) => !kept.has(index) && isDeepStrictEqual(place.value, value));
    const place = places[of];
    if (place === undefined) lines.push({ of: undefined, text: item(value, indent, eol) });
    else {
      kept.add(of);
      lines.push({ of, text: withEnd(text.slice(place.start, place.end), eol) });
    }
  }
  // Remarks above what goes come before what followed it.
  const lost = places
    .map(({ start, own }, of) => ({ of, text: kept.has(of) ? '' : text.slice(start, own) }))
    .filter((remark) => remark.text !== '');
  let body = '';
  for (const line of lines) {
    const at = line.of;
    while (at !== undefined && lost[0] !== undefined && lost[0].of < at) body += lost.shift()?.text ?? '';
    body += line.text;
  }
  body += lost.map((remark) => remark.text).join('');
  if (values.length > 0) return `${text.slice(0, first.start)}${body}${text.slice(last.end)}`;
  const at = afterColon(text, pair);
  if (at === undefined) return undefined;
  return `${text.slice(0, at)} []${text.slice(at, first.start)}${body}${text.slice(last.end)}`;
}

function item(value: JsonValue, indent: string, eol: string): string {
  const inline = asInline(value);
  if (inline !== undefined) return `${indent}- ${inline}${eol}`;
  const [head = '', ...rest] = indented(value, '');
  return [`${indent}- ${head}`, ...rest.map((line) => `${indent}  ${line}`)].map((line) => `${line}${eol}`).join('');
}

function addPair(text: string, map: YAMLMap, path: readonly string[], value: JsonValue): string | undefined {
  const eol = newline(text);
  const last = map.items.at(-1);
  if (map.flow === true) {
    const [name = ''] = path;
    const inline = path.length === 1 ? asInline(value) : undefined;
    if (!map.range || inline === undefined) return undefined;
    const after = last === undefined ? undefined : (last.value ?? last.key);
    const at = isNode(after) ? after.range?.[1] : map.range[0] + 1;
    if (at === undefined) return undefined;
    return `${text.slice(0, at)}${last === undefined ? '' : ', '}${name}: ${inline}${text.slice(at)}`;
  }
  const key = map.items[0]?.key;
  if (last === undefined || !isNode(key) || !key.range) return undefined;
  const column = key.range[0] - lineStart(text, key.range[0]);
  const at = endOfPair(text, last);
  return `${withEnd(text.slice(0, at), eol)}${block(path, value, column, eol)}${text.slice(at)}`;
}

/** Below a key that has nothing but remarks. */
function fillEmpty(text: string, pair: Pair, path: readonly string[], value: JsonValue): string | undefined {
  const at = afterColon(text, pair);
  const { key, value: present } = pair;
  if (at === undefined || !isNode(key) || !key.range) return undefined;
  const start = lineStart(text, key.range[0]);
  const indent = text.slice(start, key.range[0]);
  if (indent.trim() !== '') return undefined;
  // "null" or "~", where it is written.
  const written = isNode(present) && present.range ? text.slice(present.range[0], present.range[1]) : '';
  if (written.trim() !== '') return undefined;
  const end = lineEnd(text, at);
  const eol = newline(text);
  return `${withEnd(text.slice(0, end), eol)}${block(path, value, indent.length + 2, eol)}${text.slice(end)}`;
}

/** Lines that say `value` under a path. */
function block(path: readonly string[], value: JsonValue, column: number, eol: string): string {
  const whole = path.reduceRight<JsonValue>((inner, name) => ({ [name]: inner }), value);
  return indented(whole, ' '.repeat(column))
    .map((line) => `${line}${eol}`)
    .join('');
}

function indented(value: JsonValue, indent: string): string[] {
  return stringify(value, INLINE)
    .trimEnd()
    .split('\n')
    .map((line) => `${indent}${line}`);
}

/** Undefined for what is written over several lines. */
function asInline(value: JsonValue): string | undefined {
  const isFlat = Array.isArray(value) && value.every((each) => typeof each !== 'object');
  if (typeof value === 'object' && value !== null && !isFlat) return undefined;
  const line = stringify(value, { ...INLINE, collectionStyle: 'flow' }).trimEnd();
  return line.includes('\n') ? undefined : line;
}

/** Behind the line on which a pair ends; remarks below it do not belong to it. */
function endOfPair(text: string, { key, value }: Pair): number {
  if (isNode(value) && !isEmpty(value)) return endOfNode(text, value);
  return isNode(key) && key.range ? lineEnd(text, key.range[1]) : text.length;
}

function endOfNode(text: string, node: Node): number {
  if (isCollection(node) && node.flow !== true) {
    const last = node.items.at(-1);
    if (isNode(last)) return isEmpty(last) ? lineEnd(text, last.range?.[0] ?? text.length) : endOfNode(text, last);
    if (isMap(node) && last !== undefined) return endOfPair(text, last as Pair);
  }
  const end = node.range?.[1] ?? text.length;
  return text[end - 1] === '\n' ? end : lineEnd(text, end);
}

function lineStart(text: string, at: number): number {
  return text.lastIndexOf('\n', at - 1) + 1;
}

/** Behind the line's end. */
function lineEnd(text: string, at: number): number {
  const end = text.indexOf('\n', at);
  return end === -1 ? text.length : end + 1;
}

function remarkLines(text: string): string {
  return (text.match(/[^\n]*(?:\n|$)/g) ?? []).filter((line) => /^[ \t]*#/.test(line)).join('');
}

function newline(text: string): string {
  return text.includes('\r\n') ? '\r\n' : '\n';
}

function withEnd(text: string, eol = newline(text)): string {
  return text === '' || text.endsWith('\n') ? text : `${text}${eol}`;
}
