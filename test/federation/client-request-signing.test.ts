import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  bodyText,
  parseAuthorization,
  requestJson,
  requestText,
  signRequest,
} from '../../server/federation/request-signing.ts';
import { canonicalJson } from '../../server/matrix/canonical-json.ts';
import { generateSigningKey, verifyText } from '../../server/matrix/signing.ts';
import { serverName } from './client-kit.ts';

const key = generateSigningKey(Buffer.alloc(32, 7));
const name = fc
  .oneof(
    fc.domain(),
    fc.ipV4(),
    fc.ipV6().map((ip) => `[${ip}]`),
  )
  .chain((host) =>
    fc.oneof(
      fc.constant(host),
      fc.integer({ min: 1, max: 65_535 }).map((port) => `${host}:${port}`),
    ),
  )
  .map(serverName);

test('what a request is signed with is read back from its header, and the signature holds', () => {
  fc.assert(
    fc.property(
      name,
      name,
      fc.constantFrom('GET', 'PUT'),
      fc.webPath(),
      fc.jsonValue(),
      (origin, destination, method, uri, content) => {
        const integers = JSON.parse(JSON.stringify(content), (_, value) => (typeof value === 'number' ? 1 : value));
        const request = { method, uri, origin, destination, content: method === 'GET' ? undefined : integers };
        const contentText = request.content === undefined ? undefined : bodyText(request.content);
        const read = parseAuthorization(signRequest({ method, uri, origin, destination, contentText }, key));
        assert.deepEqual({ ...read, signature: '' }, { origin, destination, keyId: key.keyId, signature: '' });
        assert.equal(requestText(request), canonicalJson(requestJson(request)));
        assert.ok(verifyText(requestText(request), read?.signature ?? '', key.publicKey));
      },
    ),
    { numRuns: 60 },
  );
});

test('events with floats and deep nesting do not keep a transaction from being signed', () => {
  let deep: unknown = 0.5;
  for (let i = 0; i < 500; i += 1) deep = [deep];
  assert.match(bodyText({ pdus: [{ content: JSON.parse(JSON.stringify(deep)) }] }), /0\.5/);
});

const expected = {
  origin: 'origin.example:8448',
  destination: 'dest.example',
  keyId: 'ed25519:k1',
  signature: 'abc+/12=',
};

for (const header of [
  'X-Matrix origin="origin.example:8448",destination="dest.example",key="ed25519:k1",sig="abc+/12="',
  'X-Matrix origin=origin.example:8448,destination=dest.example,key=ed25519:k1,sig="abc+/12="',
  'X-Matrix origin=origin.example:8448,destination=dest.example,key=ed25519:k1,sig=abc+/12=',
  'x-matrix   SIG="abc+/12=" ,\tKEY="ed25519:k1"  ,  Destination="dest.example", Origin = "origin.example:8448"',
  'X-MATRIX origin="origin\\.exam\\ple:8448",destination="dest.example",key="ed25519:k1",sig="abc+/12=",future="a,\\"b\\"=c",x=1',
  'X-Matrix ,origin="origin.example:8448",,destination="dest.example",key="ed25519:k1",sig="abc+/12=", ',
]) {
  test(`a header may be written as ${header}`, () => {
    assert.deepEqual(parseAuthorization(header), expected);
  });
}

test('old senders leave out the destination', () => {
  assert.deepEqual(parseAuthorization('X-Matrix origin=a.example,key="ed25519:k",sig="s"'), {
    origin: 'a.example',
    destination: undefined,
    keyId: 'ed25519:k',
    signature: 's',
  });
});

for (const header of [
  '',
  'X-Matrix',
  'X-Matrix ',
  'Bearer origin="a",key="ed25519:k",sig="s"',
  'X-Matrixorigin="a",key="ed25519:k",sig="s"',
  'X-Matrix key="ed25519:k",sig="s"',
  'X-Matrix origin="a",sig="s"',
  'X-Matrix origin="a",key="ed25519:k"',
  'X-Matrix origin="a",key="rsa:k",sig="s"',
  'X-Matrix origin="a b",key="ed25519:k",sig="s"',
  'X-Matrix origin="a",origin="b",key="ed25519:k",sig="s"',
  'X-Matrix origin="a",destination="/",key="ed25519:k",sig="s"',
  'X-Matrix origin="a",key="ed25519:k",sig="s',
  'X-Matrix origin="a" key="ed25519:k" sig="s"',
  'X-Matrix origin="a",key="ed25519:k",sig="s"x',
  `X-Matrix origin="a",key="ed25519:k",sig="${'s'.repeat(5000)}"`,
]) {
  test(`no header is ${header.slice(0, 60)}`, () => {
    assert.equal(parseAuthorization(header), undefined);
  });
}

test('no text makes the parser throw or take long', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(' ', ',', '"', '\\', '=', 'a', '\t', 'origin', ':')), (parts) => {
      assert.equal(parseAuthorization(`X-Matrix ${parts.join('')}`), undefined);
    }),
  );
});
