import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { LoadOptions } from '../../server/config/config.ts';
import type { ListenerConfig } from '../../server/config/types.ts';
import { load } from './files.ts';

function listenersOf(
  t: TestContext,
  text: string,
  overrides: LoadOptions['overrides'] = {},
): readonly ListenerConfig[] {
  return load(t, text, { overrides }).config.listeners;
}

const both = `listeners:
  - {port: 8008, bind_addresses: [127.0.0.1], resources: [{names: [client]}]}
  - {port: 8448, bind_addresses: ['::'], resources: [{names: [federation]}]}
`;

test('the names of resources bring others with them', (t) => {
  const [client, federation] = listenersOf(t, both);
  assert.deepEqual([...(client?.resources ?? [])].sort(), ['client', 'health', 'media', 'static']);
  assert.deepEqual([...(federation?.resources ?? [])].sort(), ['federation', 'health', 'keys', 'media', 'openid']);
});

test('compression is asked for resource by resource', (t) => {
  const [listener] = listenersOf(
    t,
    'listeners: [{port: 1, resources: [{names: [client], compress: true}, {names: [keys], compress: false}]}]\n',
  );
  assert.deepEqual([...(listener?.compressed ?? [])].sort(), ['client', 'media', 'static']);
});

test('without addresses a listener is open on all of them', (t) => {
  const addresses = (text: string): readonly string[] | undefined =>
    listenersOf(t, `listeners: [{port: 8008, ${text}}]\n`)[0]?.bindAddresses;
  assert.deepEqual(addresses('type: http'), ['::']);
  assert.deepEqual(addresses('bind_address: 10.0.0.1'), ['10.0.0.1']);
  assert.deepEqual(addresses('bind_address: "", bind_addresses: [a, b, a]'), ['a', 'b']);
  // "::" takes connections over IPv4 as well.
  assert.deepEqual(addresses("bind_addresses: ['::', 0.0.0.0]"), ['::']);
  assert.deepEqual(addresses('bind_addresses: [0.0.0.0]'), ['0.0.0.0']);
});

test('a socket file takes the place of a port', (t) => {
  const { config, directory } = load(t, 'listeners: [{path: main.sock, mode: 0660, resources: [{names: [client]}]}]\n');
  const [listener] = config.listeners;
  assert.equal(listener?.socketPath, join(directory, 'main.sock'));
  assert.equal(listener?.socketMode, 0o660);
  assert.equal(listener?.port, undefined);
  assert.deepEqual(listener?.bindAddresses, []);
});

test('what is behind a reverse proxy says so', (t) => {
  const [listener] = listenersOf(
    t,
    'listeners: [{port: 1, x_forwarded: true, request_id_header: X-Request-ID, tag: p}]\n',
  );
  assert.equal(listener?.trustForwarded, true);
  assert.equal(listener?.requestIdHeader, 'x-request-id');
  assert.equal(listener?.tag, 'p');
});

test('listeners of other kinds are left out with a warning', (t) => {
  const { config, warnings } = load(
    t,
    'listeners: [{port: 9000, type: manhole}, {port: 9093, resources: [{names: [replication]}]}]\n',
  );
  assert.deepEqual(
    config.listeners.map(({ port, resources }) => [port, resources]),
    [[9093, ['health']]],
  );
  assert.equal(warnings.length, 2);
  assert.match(warnings[0] ?? '', /listeners \(.*:2\): listener 1: the type manhole has no effect/);
});

test('ports of the command line take the place of those written', (t) => {
  const ports = listenersOf(t, both, { clientPort: 1111, federationPort: 2222 }).map(({ port }) => port);
  assert.deepEqual(ports, [1111, 2222]);
});

test('a federation port of the command line makes a listener where there is none', (t) => {
  const [client, federation, ...rest] = listenersOf(t, '', { clientPort: 0, federationPort: 2222 });
  assert.equal(client?.port, 0);
  assert.equal(federation?.port, 2222);
  assert.ok(federation?.resources.includes('federation') === true && !federation.resources.includes('client'));
  // There is no certificate: only a reverse proxy on this machine can be meant.
  assert.deepEqual(federation.bindAddresses, ['127.0.0.1']);
  assert.equal(federation.tls, false);
  assert.deepEqual(rest, []);
});

test('with an own port for other servers and a certificate, they are let in from everywhere', (t) => {
  const [, federation] = listenersOf(t, 'tls_certificate_path: c.pem\ntls_private_key_path: k.pem\n', {
    federationPort: 8448,
  });
  assert.equal(federation?.tls, true);
  assert.deepEqual(federation.bindAddresses, ['::']);
});

test('a client port of the command line makes a listener where there is none', (t) => {
  const listeners = listenersOf(t, 'listeners: [{port: 8448, resources: [{names: [federation]}]}]\n', {
    clientPort: 80,
  });
  assert.deepEqual(
    listeners.map(({ port }) => port),
    [80, 8448],
  );
  assert.ok(listeners[0]?.resources.includes('client'));
});
