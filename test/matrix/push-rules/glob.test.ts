import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { compileGlob, compileLiteral } from '../../../server/matrix/push-rules/glob.ts';

test('a pattern covers a whole value, with * for anything and ? for one character', () => {
  const cases: readonly (readonly [pattern: string, text: string, matches: boolean])[] = [
    ['lunc?*', 'Lunch plans', true],
    ['lunc?*', 'LUNCH', true],
    ['lunc?*', ' lunch', false],
    ['lunc?*', 'lunc', false],
    ['*', '', true],
    ['', '', true],
    ['', 'a', false],
    ['?', '', false],
    ['?', '😀', true],
    ['??', '😀', false],
    ['a*b*c', 'aXbYbZc', true],
    ['a*b*c', 'acb', false],
    ['ab*ba', 'aba', false],
    ['ab*ba', 'abba', true],
    ['a**c', 'ac', true],
    ['*.example', 'alice.example', true],
    ['*.example', 'alice.example.org', false],
    ['a.c', 'abc', false],
    ['[a-z]+', '[a-z]+', true],
    ['*\n*', 'one\ntwo', true],
  ];
  for (const [pattern, text, matches] of cases) {
    assert.equal(
      compileGlob(pattern).matchesWhole(text.toLowerCase()),
      matches,
      `${pattern} on ${JSON.stringify(text)}`,
    );
  }
});

test('in a body, a pattern covers whole words', () => {
  const cases: readonly (readonly [pattern: string, text: string, matches: boolean])[] = [
    ['ex*ple', 'An example event.', true],
    ['ex*ple', 'exple', true],
    ['ex*ple', 'An exciting triple-whammy', true],
    ['ex*ple', 'An examples', false],
    ['ex*ple', 'complex example', true],
    ['cake', 'I like CAKE!', true],
    ['cake', 'pancake', false],
    ['cake', 'pancake and cake', true],
    ['cake', 'cakes', false],
    ['cake', 'cake_tin', false],
    ['cake', 'cake2', false],
    ['cake', 'écaké cake', true],
    ['cake', '日cake本', true],
    ['cake*lie', 'the cake is a lie', true],
    ['cake*lie', 'the cake is a lied lie', true],
    ['cake*lie', 'the cake is a lied', false],
    ['*cake', 'pancake', true],
    ['cake*', 'pancakes', false],
    ['ca?e', 'the cave', true],
    ['?', 'ab', false],
    ['@alice', 'hi@alice, come', true],
    ['c++', 'I write c++ now', true],
    ['', 'anything', true],
  ];
  for (const [pattern, text, matches] of cases) {
    assert.equal(
      compileGlob(pattern).matchesWords(text.toLowerCase()),
      matches,
      `${pattern} on ${JSON.stringify(text)}`,
    );
  }
});

test('a literal takes wildcards for themselves', () => {
  assert.ok(compileLiteral('Al*ce?').matchesWords('hey al*ce? there'));
  assert.ok(!compileLiteral('Al*ce').matchesWords('hey alice'));
});

test('a glob agrees with the regular expression of the same meaning', () => {
  const patterns = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '*', '?'), maxLength: 6 });
  const texts = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '-'), maxLength: 10 });
  fc.assert(
    fc.property(patterns, texts, (pattern, text) => {
      const source = pattern.replaceAll('?', '.').replaceAll('*', '.*');
      assert.equal(compileGlob(pattern).matchesWhole(text), new RegExp(`^${source}$`).test(text));
      // A boundary is an end of the text or the neighbourhood of what is no word character.
      const start = '(?:^|(?<=\\W)|(?=\\W)|(?=$))';
      const end = '(?:$|(?=\\W)|(?<=\\W)|(?<=^))';
      assert.equal(compileGlob(pattern).matchesWords(text), new RegExp(`${start}${source}${end}`).test(text));
    }),
    { numRuns: 3000 },
  );
});

test('no pattern takes long, whatever text it meets', { timeout: 20_000 }, () => {
  const pattern = `${'*a'.repeat(200)}*b`;
  const text = 'a'.repeat(60_000);
  assert.ok(!compileGlob(pattern).matchesWhole(text));
  assert.ok(!compileGlob(pattern).matchesWords(text));
  assert.ok(!compileGlob(`${'a'.repeat(30)}?b`).matchesWords(text));
});
