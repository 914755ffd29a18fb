import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type JsonPart,
  JsonStreamError,
  type JsonStreamOptions,
  readJsonParts,
} from '../../server/util/json-stream.ts';

const LIMITS = { lists: ['list', 'other'], maxBytes: 1_000, maxDepth: 10 };

async function* inPieces(text: string, size: number): AsyncGenerator<Uint8Array, void, undefined> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(text: string, size = 7, options: Partial<JsonStreamOptions> = {}): Promise<JsonPart[]> {
  const parts: JsonPart[] = [];
  for await (const part of readJsonParts(inPieces(text, size), { ...LIMITS, ...options })) parts.push(part);
  return parts;
}

test('lists that are named come element by element, all else as a whole, in order', async () => {
  const parts = await read('{"a": 1, "list":[ {"x":"]}"} ,"\\"", [2,[3]],null],"b":[1], "other": [], "c":-1.5e3}');
  assert.deepEqual(
    parts.map((part) => ['value' in part ? part.value : undefined, part.key, part.isElement]),
    [
      [1, 'a', false],
      [{ x: ']}' }, 'list', true],
      ['"', 'list', true],
      [[2, [3]], 'list', true],
      [null, 'list', true],
      [[1], 'b', false],
      [-1500, 'c', false],
    ],
  );
});

test('whatever JSON holds, and however it is cut, comes out as it went in', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })),
      fc.array(fc.jsonValue({ maxDepth: 3 })),
      fc.integer({ min: 1, max: 9 }),
      async (object, list, size) => {
        const { list: _list, other: _other, ...rest } = object;
        const whole = { ...rest, list };
        const text = JSON.stringify(whole);
        const options = { maxBytes: 1_000_000, maxDepth: 100 };
        const parts = [
          ...(await read(text, size, options)),
          ...(await read(`[200,${text}]`, size, { ...options, isWrapped: true })),
        ];
        const values = parts.map((part) => ('value' in part ? part.value : assert.fail('passed over')));
        const entries = Object.entries(JSON.parse(text) as Record<string, unknown>);
        const expected = entries.flatMap(([key, value]) => (key === 'list' && Array.isArray(value) ? value : [value]));
        assert.deepEqual(values, [...expected, ...expected]);
      },
    ),
  );
});

test('values that are too large or too deep are passed over, and what follows them is not', async () => {
  const deep = '['.repeat(11) + ']'.repeat(11);
  const parts = await read(`{"list":["${'x'.repeat(2_000)}",${deep},1],"a":"${'y'.repeat(2_000)}","b":2}`, 100);
  assert.deepEqual(parts, [
    { key: 'list', isElement: true, passedOver: true },
    { key: 'list', isElement: true, passedOver: true },
    { key: 'list', isElement: true, value: 1 },
    { key: 'a', isElement: false, passedOver: true },
    { key: 'b', isElement: false, value: 2 },
  ]);
});

for (const text of [
  '',
  '{',
  '{"list":[1,2',
  '{"list":[1,]}',
  '{"list":[,1]}',
  '{"a":1,}',
  '{"a" 1}',
  '{"a":}',
  '{a:1}',
  '{"a":1}}',
  '{"a":1} x',
  '{"a":tru}',
  '{"a":[1}}',
  '{"a":"\\x"}',
  '[1]',
  '"text"',
  `{"${'k'.repeat(2_000)}":1}`,
]) {
  test(`${text.slice(0, 20)} is no JSON object`, async () => {
    for (const size of [1, 1_000]) await assert.rejects(read(text, size), JsonStreamError);
  });
}

test('an object that should be wrapped has to be', async () => {
  for (const text of ['{"a":1}', '[200]', '[200,1]', '[200,{}', '[{},{},{}]']) {
    await assert.rejects(read(text, 3, { isWrapped: true }), JsonStreamError);
  }
  assert.deepEqual(await read('[200,{}]', 3, { isWrapped: true }), []);
});
