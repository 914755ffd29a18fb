import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { decodeBase64, decodeBase64Url, encodeBase64, encodeBase64Url } from '../../server/matrix/base64.ts';

test('bytes are written without padding, as in the examples of the spec', () => {
  const examples: readonly (readonly [string, string])[] = [
    ['', ''],
    ['f', 'Zg'],
    ['fo', 'Zm8'],
    ['foo', 'Zm9v'],
    ['foob', 'Zm9vYg'],
    ['fooba', 'Zm9vYmE'],
    ['foobar', 'Zm9vYmFy'],
  ];
  for (const [plain, encoded] of examples) {
    assert.equal(encodeBase64(Buffer.from(plain)), encoded);
    assert.equal(decodeBase64(encoded)?.toString(), plain);
  }
});

test('the two alphabets differ in two characters, and neither decoder takes the characters of the other', () => {
  const bytes = Uint8Array.of(0xfb, 0xff, 0xfe);
  assert.equal(encodeBase64(bytes), '+//+');
  assert.equal(encodeBase64Url(bytes), '-__-');
  assert.equal(decodeBase64('-__-'), undefined);
  assert.equal(decodeBase64Url('+//+'), undefined);
});

test('padded text is read too, but only where the padding is right', () => {
  assert.deepEqual(decodeBase64('Zg=='), Buffer.from('f'));
  assert.deepEqual(decodeBase64Url('Zm8='), Buffer.from('fo'));
  for (const wrong of ['Zg=', 'Zm9v=', 'Zm9v====', '=', 'Z=g=', 'Z', 'Zm9vY', 'Zm9 v', 'Zm9v\n', 'Zm9é']) {
    assert.equal(decodeBase64(wrong), undefined, JSON.stringify(wrong));
  }
});

test('bits beyond the last byte are ignored, as the key in the test vectors of the spec requires', () => {
  assert.equal(decodeBase64('YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1')?.length, 32);
  assert.deepEqual(decodeBase64('Zh'), Buffer.from('f'));
});

test('whatever is encoded comes back, from a slice of a larger buffer as well', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(20), (bytes, skip) => {
      const slice = bytes.subarray(Math.min(skip, bytes.length));
      assert.deepEqual(decodeBase64(encodeBase64(slice)), Buffer.from(slice));
      assert.deepEqual(decodeBase64Url(encodeBase64Url(slice)), Buffer.from(slice));
    }),
  );
});
