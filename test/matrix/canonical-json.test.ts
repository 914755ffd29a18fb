import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import {
  CanonicalJsonError,
  canonicalJson,
  checkCanonical,
  MAX_CANONICAL_DEPTH,
  MAX_PARSE_DEPTH,
  parseJson,
} from '../../server/matrix/canonical-json.ts';
import { MatrixError } from '../../server/matrix/errors.ts';
import type { JsonValue } from '../../server/matrix/json.ts';

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
const refusal = (errcode: string) => (error: unknown) => error instanceof MatrixError && error.errcode === errcode;

/** JSON values that have a canonical form, with keys that are hard to sort. */
const canonicalValues = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.string({ unit: 'binary' }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.string({ unit: 'binary', maxLength: 4 }), fc.nat(20).map(String)), tie('value'), {
      maxKeys: 6,
      noNullPrototype: true,
    }),
  ),
})).value;

test('the examples of the spec come out as the spec says', () => {
  const examples: readonly (readonly [string, string])[] = [
    ['{}', '{}'],
    ['{"one": 1, "two": "Two"}', '{"one":1,"two":"Two"}'],
    ['{"b": "2", "a": "1"}', '{"a":"1","b":"2"}'],
    [
      `{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",
        "three_pids": [{"medium": "email", "address": "john.doe@example.org"},
                       {"medium": "msisdn", "address": "123456789"}]}}}`,
      '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":' +
        '[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},' +
        '"success":true}}',
    ],
    ['{"a": "日本語"}', '{"a":"日本語"}'],
    ['{"本": 2, "日": 1}', '{"日":1,"本":2}'],
    ['{"a": "\\u65E5"}', '{"a":"日"}'],
    ['{"a": null}', '{"a":null}'],
    ['{"a": -0, "b": 1e10}', '{"a":0,"b":10000000000}'],
  ];
  for (const [input, expected] of examples) assert.equal(canonicalJson(parseJson(input)), expected);
});

test('keys are sorted by code point, which is not the order of UTF-16', () => {
  // U+1F600 is written with surrogates, which are smaller code units than U+FF5E.
  assert.equal(canonicalJson({ '\u{1f600}': 1, '\uff5e': 2, z: 3 }), '{"z":3,"\uff5e":2,"\u{1f600}":1}');
  assert.equal(canonicalJson({ 'a\u{1f600}': 1, 'a\ue000': 2, a: 3 }), '{"a":3,"a\ue000":2,"a\u{1f600}":1}');
});

test('keys that look like numbers are sorted as text', () => {
  assert.equal(canonicalJson({ 2: 'b', 10: 'a', '-1': 'c' }), '{"-1":"c","10":"a","2":"b"}');
});

test('strings take the shortest escapes, and DEL and the line separators take none', () => {
  assert.equal(
    canonicalJson('\b\t\n\f\r"\\/\u0000\u000b\u001f\u007f\u2028'),
    '"\\b\\t\\n\\f\\r\\"\\\\/\\u0000\\u000b\\u001f\u007f\u2028"',
  );
  assert.equal(canonicalJson({ 'a"\n': 1 }), '{"a\\"\\n":1}');
});

test('a key called __proto__ is a key like any other', () => {
  assert.equal(canonicalJson(parseJson('{"b":1,"__proto__":{"a":2}}')), '{"__proto__":{"a":2},"b":1}');
});

test('floats, integers out of range, lone surrogates and values unknown to JSON have no canonical form', () => {
  assert.equal(canonicalJson([2 ** 53 - 1, -(2 ** 53) + 1]), '[9007199254740991,-9007199254740991]');
  const refused: readonly unknown[] = [
    0.5,
    2 ** 53,
    -(2 ** 53),
    Number.NaN,
    Number.POSITIVE_INFINITY,
    'a\ud800',
    { '\udc00': 1 },
    undefined,
    { a: undefined },
    1n,
  ];
  for (const value of refused) assert.throws(() => canonicalJson({ in: [value as JsonValue] }), CanonicalJsonError);
  assert.equal(checkCanonical({ a: 0.5 }), 'a number is not an integer within ±(2^53 - 1)');
  assert.equal(checkCanonical({ a: 5 }), undefined);
});

test('for old rooms, numbers outside the rules are written the way other servers hashed them', () => {
  const written: readonly (readonly [number, string])[] = [
    [50.57, '50.57'],
    [0.0001, '0.0001'],
    [0.00001, '1e-05'],
    [1.5e-7, '1.5e-07'],
    [-1e-10, '-1e-10'],
    [5e-324, '5e-324'],
    [2 ** 53, '9007199254740992'],
    [1e22, '10000000000000000000000'],
    [-0, '0'],
  ];
  for (const [number, expected] of written) assert.equal(canonicalJson(number, { strict: false }), expected);
  assert.throws(() => canonicalJson(Number.POSITIVE_INFINITY, { strict: false }), CanonicalJsonError);
  assert.equal(checkCanonical([0.5], { strict: false }), undefined);
});

test('nesting is bounded, so that no value exhausts the stack', () => {
  assert.equal(canonicalJson(parseJson(nested(MAX_CANONICAL_DEPTH))), nested(MAX_CANONICAL_DEPTH));
  assert.throws(() => canonicalJson(parseJson(nested(MAX_CANONICAL_DEPTH + 1))), CanonicalJsonError);
  assert.doesNotThrow(() => parseJson(nested(MAX_PARSE_DEPTH)));
  assert.throws(() => parseJson(nested(MAX_PARSE_DEPTH + 1)), refusal('M_BAD_JSON'));
  assert.throws(() => parseJson(nested(1_000_000)), refusal('M_BAD_JSON'));
  assert.throws(() => parseJson(`${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`), refusal('M_BAD_JSON'));
});

test('brackets within strings are no nesting, whatever backslashes stand before the quotation mark', () => {
  const text = JSON.stringify([`${'['.repeat(2000)}\\`, '\\\\"[[', '"'.repeat(1500), { '{{"': '\\' }]);
  assert.doesNotThrow(() => parseJson(text));
});

test('of a key given twice the last one counts', () => {
  assert.deepEqual(parseJson('{"a":1,"a":2}'), { a: 2 });
});

test('what is not JSON or not UTF-8 is refused, without repeating it in the message', () => {
  for (const input of ['', '{', '{"a":1,}', 'hunter2', "{'a':1}", '[1 2]', 'NaN', '"\ud800"']) {
    assert.throws(() => parseJson(input), refusal('M_NOT_JSON'), input);
  }
  assert.throws(() => parseJson(Buffer.from([0x22, 0xc3, 0x22])), refusal('M_NOT_JSON'));
  assert.throws(
    () => parseJson('hunter2'),
    (error: Error) => !error.message.includes('hunter2'),
  );
  assert.equal(parseJson(Buffer.from('"日本"')), '日本');
});

test('half a surrogate pair is refused even when it was escaped, and a whole one is not', () => {
  for (const input of ['"\\ud83d"', '{"\\uDE00":1}', '[{"a":["\\ude00\\ud83d"]}]']) {
    assert.throws(() => parseJson(input), refusal('M_BAD_JSON'), input);
  }
  assert.deepEqual(parseJson('{"\\ud83d\\ude00":"\\\\ud83d"}'), { '😀': '\\ud83d' });
});

test('canonical JSON, read and written again, is the same text and the same value', () => {
  fc.assert(
    fc.property(canonicalValues, (value) => {
      const text = canonicalJson(value);
      assert.equal(canonicalJson(parseJson(Buffer.from(text))), text);
      assert.deepEqual(parseJson(text), JSON.parse(JSON.stringify(value)));
    }),
  );
});

test('the order in which keys were set does not show', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.nat(), { noNullPrototype: true }), (object) => {
      const reversed = Object.fromEntries(Object.entries(object).reverse());
      assert.equal(canonicalJson(reversed), canonicalJson(object));
      const keys = Object.keys(parseJson(canonicalJson(object)) as object);
      const bytewise = Object.keys(object).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      assert.deepEqual(new Set(keys), new Set(bytewise));
      // UTF-8 keeps the order of code points.
      const expected = bytewise.map((key) => `${JSON.stringify(key)}:${object[key]}`).join(',');
      assert.equal(canonicalJson(object), `{${expected}}`);
    }),
  );
});
