import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';
import nacl from 'tweetnacl';

import { decodeBase64, encodeBase64 } from '../../server/matrix/base64.ts';
import {
  formatSigningKeyFile,
  generateSigningKey,
  parseSigningKeyFile,
  signaturesOf,
  signingKeyFromSeed,
  signJson,
  signText,
  verifyJson,
  verifyText,
} from '../../server/matrix/signing.ts';

const SEED = 'YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1';
const specKey = signingKeyFromSeed(decodeBase64(SEED) ?? Buffer.alloc(0), '1');
const anotherKey = signingKeyFromSeed(Buffer.alloc(32, 7), 'other');

test('the test vectors of the spec for signed JSON come out', () => {
  assert.deepEqual(signJson({}, 'domain', specKey), {
    signatures: {
      domain: {
        'ed25519:1': 'K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ',
      },
    },
  });
  assert.deepEqual(signJson({ one: 1, two: 'Two' }, 'domain', specKey), {
    one: 1,
    signatures: {
      domain: {
        'ed25519:1': 'KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw',
      },
    },
    two: 'Two',
  });
});

test('keys and signatures agree with another implementation of Ed25519', () => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  fc.assert(
    fc.property(bytes(32), fc.string({ unit: 'binary' }), (seed, text) => {
      const key = generateSigningKey(seed);
      const pair = nacl.sign.keyPair.fromSeed(seed);
      assert.deepEqual(new Uint8Array(key.publicKey), pair.publicKey);
      assert.equal(signText(text, key), encodeBase64(nacl.sign.detached(Buffer.from(text), pair.secretKey)));
      assert.ok(verifyText(text, signText(text, key), pair.publicKey));
      assert.ok(!verifyText(`${text}!`, signText(text, key), pair.publicKey));
    }),
    { numRuns: 30 },
  );
});

test('another server adds its signature beside the first, and neither covers `unsigned`', () => {
  const signed = signJson(
    signJson({ name: 'kitchen', unsigned: { age: 1 } }, 'alice.example', specKey),
    'bob.example',
    anotherKey,
  );
  const aged = { ...signed, unsigned: { age: 99 } };
  assert.ok(verifyJson(aged, 'alice.example', specKey.keyId, specKey.publicKeyBase64));
  assert.ok(verifyJson(aged, 'bob.example', anotherKey.keyId, anotherKey.publicKey));
  assert.deepEqual(aged.unsigned, { age: 99 });
});

test('a signature does not hold for a changed object, another key, another signer or another key ID', () => {
  const signed = signJson({ name: 'kitchen' }, 'alice.example', specKey);
  assert.ok(!verifyJson({ ...signed, name: 'cellar' }, 'alice.example', specKey.keyId, specKey.publicKey));
  assert.ok(!verifyJson(signed, 'alice.example', specKey.keyId, anotherKey.publicKey));
  assert.ok(!verifyJson(signed, 'bob.example', specKey.keyId, specKey.publicKey));
  assert.ok(!verifyJson(signed, 'alice.example', 'ed25519:2', specKey.publicKey));
});

test('malformed signatures and keys are refused rather than thrown about', () => {
  const signed = signJson({ name: 'kitchen' }, 'alice.example', specKey);
  const withSignature = (signature: unknown) => ({
    name: 'kitchen',
    signatures: { 'alice.example': { 'ed25519:1': signature as string } },
  });
  for (const signature of ['', 'AAAA', '!', 'A'.repeat(86), 5, null]) {
    assert.ok(!verifyJson(withSignature(signature), 'alice.example', 'ed25519:1', specKey.publicKey));
  }
  for (const publicKey of ['', 'AAAA', '%', encodeBase64(Buffer.alloc(33))]) {
    assert.ok(!verifyJson(signed, 'alice.example', specKey.keyId, publicKey));
  }
  assert.ok(!verifyJson({ signatures: [] }, 'alice.example', 'ed25519:1', specKey.publicKey));
  assert.ok(!verifyJson({ ...signed, half: 0.5 }, 'alice.example', specKey.keyId, specKey.publicKey));
});

test('only Ed25519 signatures are understood, and names every object inherits are no signers', () => {
  const object = { signatures: { 'alice.example': { 'rsa:1': 'AAAA', 'ed25519:a': 'BBBB', 'ed25519:b': 5 } } };
  assert.deepEqual(signaturesOf(object, 'alice.example'), [{ keyId: 'ed25519:a', signature: 'BBBB' }]);
  assert.deepEqual(signaturesOf(object, 'constructor'), []);
  assert.deepEqual(signaturesOf({}, 'alice.example'), []);
});

test('a signing key file is read as Synapse writes it', () => {
  const [key] = parseSigningKeyFile(`ed25519 a_abcd ${SEED}\n`);
  assert.equal(key.keyId, 'ed25519:a_abcd');
  assert.deepEqual(key.publicKey, specKey.publicKey);
});

test('a generated key survives being written to a file, and two keys have two IDs', () => {
  const key = generateSigningKey(Buffer.alloc(32, 1));
  const [read] = parseSigningKeyFile(formatSigningKeyFile(key));
  assert.equal(read.keyId, key.keyId);
  assert.deepEqual(read.seed, key.seed);
  assert.notEqual(generateSigningKey(Buffer.alloc(32, 2)).keyId, key.keyId);
});

test('a file may hold several keys, the first being the one to sign with', () => {
  const keys = parseSigningKeyFile(`${formatSigningKeyFile(specKey)}\r\n${formatSigningKeyFile(anotherKey)}`);
  assert.deepEqual(
    keys.map((key) => key.keyId),
    ['ed25519:1', 'ed25519:other'],
  );
});

test('a damaged signing key file is refused with the number of the line, and without the seed', () => {
  const wrong = [
    '',
    `\n\nrsa 1 ${SEED}`,
    `ed25519 1`,
    `ed25519 1 ${SEED} more`,
    `ed25519 a:b ${SEED}`,
    `ed25519 1 ${SEED}AAAA`,
    'ed25519 1 !!!!',
  ];
  for (const text of wrong) {
    assert.throws(
      () => parseSigningKeyFile(text),
      (error: Error) => /line [13]|no key/.test(error.message) && !error.message.includes(SEED),
      text,
    );
  }
});

test('a key is made of 32 bytes and a version in its grammar, or not at all', () => {
  assert.throws(() => generateSigningKey(Buffer.alloc(31)), RangeError);
  assert.throws(() => signingKeyFromSeed(Buffer.alloc(32), 'a-b'), RangeError);
});
