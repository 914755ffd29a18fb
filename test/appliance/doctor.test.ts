import assert from 'node:assert/strict';
import { test } from 'node:test';
import { usualLimits } from '../../server/appliance/doctor/world.ts';
import { makeChain, selfSigned } from './world/certificates.ts';
import {
  clientFile,
  FakeWorld,
  findingOf,
  matrixServer,
  type MatrixWishes,
  serverFile,
  someKey,
  verdictsOf,
  wordsOf,
} from './world/fake-world.ts';

const V4 = '51.15.0.7';
const V6 = '2a01:4f8:1::7';
const DAY = 86_400_000;

/** One server of the name rivendell.net, on port 8448 of one address, with nothing amiss but what is told. */
async function rivendell(
  world: FakeWorld,
  wishes: Partial<MatrixWishes> = {},
  certificate: Parameters<FakeWorld['serve']>[0]['certificate'] = ['rivendell.net'],
): Promise<void> {
  world.hosts.set('rivendell.net', { ipv4: [V4] });
  const files = { ...clientFile('https://rivendell.net'), ...wishes.files };
  const answer = matrixServer({ name: 'rivendell.net', ...wishes, files });
  await world.serve({ at: [`${V4}:8448`], certificate, answer });
  await world.serve({ at: [`${V4}:443`], certificate: ['rivendell.net'], answer });
}

test('a server in order is said to be, by all that was looked at', async () => {
  await using world = await FakeWorld.start();
  await rivendell(world, {}, { dnsNames: ['rivendell.net'], notAfter: new Date(Date.now() + 60 * DAY) });
  const report = await world.examine('rivendell.net');
  assert.equal(report.verdict, 'good', JSON.stringify(report.findings, undefined, 1));
  assert.equal(report.summary, 'All is well: other servers can reach rivendell.net.');
  assert.deepEqual(Object.keys(verdictsOf(report)), [
    'name',
    'well-known',
    'srv',
    'dns rivendell.net',
    `port ${V4}:8448`,
    `tls ${V4}:8448`,
    `answer ${V4}:8448`,
    `keys ${V4}:8448`,
    `clock ${V4}:8448`,
    `path ${V4}:8448`,
    'families',
    'client-file',
    'client-api',
    'client-browser',
    'client-path',
  ]);
  assert.match(wordsOf(report, 'tls'), /for another 59 days/);
  assert.ok(world.sni.includes('rivendell.net'), 'the name is asked for by SNI');
  assert.ok((report.endedAt ?? 0) >= report.startedAt);
});

test('what is no server name is told from one, with a hint', async () => {
  await using world = await FakeWorld.start();
  for (const [name, hint] of [
    ['https://rivendell.net', /Leave out https/],
    ['@elrond:rivendell.net', /part after the colon/],
    ['riven_dell.net', /underscore/],
    ['rivendell.net/matrix', /slash/],
    ['bruchtäler.net', /xn--/],
    ['rivendell.net:99999', /written like/],
  ] as const) {
    const report = await world.examine(name);
    assert.equal(report.verdict, 'bad', name);
    assert.match(findingOf(report, 'name').nextStep ?? '', hint);
    assert.equal(report.findings.length, 1, 'nothing else can be looked at');
  }
  assert.match(wordsOf(await world.examine('hearth.local'), 'name'), /^warning: .*this home only/);
  assert.match(wordsOf(await world.examine('192.168.1.5'), 'name'), /^warning: .*address and no name/);
});

test('a delegation file is followed, to another host and port', async () => {
  await using world = await FakeWorld.start();
  world.hosts.set('rivendell.net', { ipv4: ['51.15.0.1'] });
  world.hosts.set('matrix.rivendell.net', { ipv4: [V4] });
  await world.serve({
    at: '51.15.0.1:443',
    certificate: ['rivendell.net'],
    answer: matrixServer({
      name: 'nobody',
      files: { ...serverFile('matrix.rivendell.net:4443'), ...clientFile('https://matrix.rivendell.net:4443') },
    }),
  });
  await world.serve({
    at: `${V4}:4443`,
    certificate: ['matrix.rivendell.net'],
    answer: matrixServer({ name: 'rivendell.net' }),
  });
  const report = await world.examine('rivendell.net');
  assert.equal(report.verdict, 'good', JSON.stringify(report.findings, undefined, 1));
  assert.match(wordsOf(report, 'well-known'), /^good: Other servers are sent to matrix\.rivendell\.net:4443/);
  assert.equal(findingOf(report, 'srv').verdict, 'skipped');
  assert.ok(world.sni.includes('matrix.rivendell.net'));
});

test('every way to get the delegation file wrong has its own words', async () => {
  const broken: readonly [body: string, status: number, expected: RegExp][] = [
    ['<html>Welcome</html>', 200, /^bad: .*not the JSON file.* → Serve exactly the file/],
    ['{"m.homeserver": "x"}', 200, /^bad: .*lacks "m\.server".* → Write it as/],
    [
      '{"m.server": "https://matrix.rivendell.net"}',
      200,
      /^bad: .*web address and no server name.* → Leave out https:/,
    ],
    ['{"m.server": "riven dell"}', 200, /^bad: .*no server name.* → Write a name and a port/],
    ['{"m.server": "rivendell.net:70000"}', 200, /^bad: .*no server name/],
    ['oops', 500, /^warning: .*status 500.* → Look why the web server fails/],
    ['no', 403, /^warning: .*status 403.* → .*or answer 404/],
    ['gone', 404, /^good: There is no such file/],
    [' '.repeat(70_000), 200, /^warning: .*far more than belongs there/],
  ];
  for (const [body, status, expected] of broken) {
    await using world = await FakeWorld.start();
    await rivendell(world, { files: { '/.well-known/matrix/server': { status, body } } });
    const report = await world.examine('rivendell.net');
    assert.match(wordsOf(report, 'well-known'), expected);
    assert.equal(findingOf(report, 'keys').verdict, 'good', 'port 8448 is looked at nevertheless');
  }
});

test('redirects of the delegation file are followed, in circles and to plain HTTP they are not', async () => {
  await using world = await FakeWorld.start();
  const redirect = (location: string) => ({ status: 302, headers: { location } });
  await rivendell(world, {
    files: {
      '/.well-known/matrix/server': redirect('https://www.rivendell.net/matrix.json'),
      '/loop': redirect('/loop'),
    },
  });
  world.hosts.set('www.rivendell.net', { ipv4: ['51.15.0.2'] });
  const target = { '/matrix.json': { body: '{"m.server": "rivendell.net:8448"}' } };
  await world.serve({
    at: '51.15.0.2:443',
    certificate: ['www.rivendell.net'],
    answer: matrixServer({ name: 'x', files: target }),
  });
  const followed = findingOf(await world.examine('rivendell.net'), 'well-known');
  assert.equal(followed.verdict, 'good');
  assert.ok(followed.details?.includes('Redirected to https://www.rivendell.net/matrix.json'));

  for (const [location, expected] of [
    ['/.well-known/matrix/server?again', /^warning: .*again and again/],
    ['http://rivendell.net/x', /^warning: .*where nobody may follow/],
  ] as const) {
    await using other = await FakeWorld.start();
    await rivendell(other, { files: { '/.well-known/matrix/server': redirect(location) } });
    assert.match(wordsOf(await other.examine('rivendell.net'), 'well-known'), expected);
  }
});

test('a delegation file behind a certificate that does not count is as good as none', async () => {
  await using world = await FakeWorld.start();
  world.hosts.set('rivendell.net', { ipv4: [V4] });
  await world.serve({
    at: `${V4}:443`,
    certificate: ['other.net'],
    answer: matrixServer({ name: 'x', files: serverFile('matrix.rivendell.net:443') }),
  });
  const report = await world.examine('rivendell.net');
  assert.match(
    wordsOf(report, 'well-known'),
    /^bad: The file cannot be read: The certificate is not for rivendell\.net but for other\.net/,
  );
  assert.match(report.summary, /The file cannot be read/, 'that port 8448 is closed is no fault then');
  assert.equal(findingOf(report, `port ${V4}:8448`).verdict, 'bad');
  assert.equal(report.verdict, 'bad');
});

test('two addresses that serve different delegation files are told', async () => {
  await using world = await FakeWorld.start();
  await rivendell(world, { files: serverFile('rivendell.net:8448') });
  world.hosts.set('rivendell.net', { ipv4: [V4], ipv6: [V6] });
  await world.serve({
    at: [`[${V6}]:443`, `[${V6}]:8448`],
    certificate: ['rivendell.net'],
    answer: matrixServer({ name: 'rivendell.net' }),
  });
  assert.match(
    wordsOf(await world.examine('rivendell.net'), 'well-known'),
    /^bad: .*do not serve the same file.* → Serve the file alike/,
  );
});

test('SRV records are followed; the old name, an alias and "not here" are remarked upon', async () => {
  await using world = await FakeWorld.start();
  const answer = matrixServer({ name: 'rivendell.net', files: clientFile('https://rivendell.net') });
  world.hosts.set('rivendell.net', { ipv4: ['51.15.0.1'] });
  world.hosts.set('box.rivendell.net', { ipv4: [V4] });
  await world.serve({ at: ['51.15.0.1:443', `${V4}:9000`], certificate: ['rivendell.net'], answer });
  const record = { priority: 10, weight: 5, port: 9000, target: 'box.rivendell.net' };
  world.services.set('_matrix-fed._tcp.rivendell.net', [record]);
  const followed = await world.examine('rivendell.net');
  assert.equal(followed.verdict, 'good', JSON.stringify(followed.findings, undefined, 1));
  assert.match(wordsOf(followed, 'srv'), /^good: Other servers are led to box\.rivendell\.net:9000/);

  world.services.delete('_matrix-fed._tcp.rivendell.net');
  world.services.set('_matrix._tcp.rivendell.net', [record]);
  world.hosts.set('box.rivendell.net', { ipv4: [V4], alias: 'dyn.provider.net' });
  const old = await world.examine('rivendell.net');
  assert.match(
    wordsOf(old, 'srv'),
    /^warning: .*old name.* → Add the same record as _matrix-fed\._tcp\.rivendell\.net/,
  );
  assert.match(wordsOf(old, 'dns box'), /^warning: .*names an alias.* → Name dyn\.provider\.net itself/);

  world.services.set('_matrix-fed._tcp.rivendell.net', [{ ...record, target: '' }]);
  const none = await world.examine('rivendell.net');
  assert.match(wordsOf(none, 'srv'), /^bad: .*says that there is no Matrix server.* → Remove it/);
  assert.equal(none.summary.startsWith('Other servers cannot reach rivendell.net'), true);
});

test('a certificate for the SRV target instead of the name is explained', async () => {
  await using world = await FakeWorld.start();
  world.hosts.set('rivendell.net', { ipv4: ['51.15.0.1'] });
  world.hosts.set('box.rivendell.net', { ipv4: [V4] });
  world.services.set('_matrix-fed._tcp.rivendell.net', [
    { priority: 1, weight: 1, port: 443, target: 'box.rivendell.net' },
  ]);
  await world.serve({
    at: `${V4}:443`,
    certificate: ['box.rivendell.net'],
    answer: matrixServer({ name: 'rivendell.net' }),
  });
  assert.match(
    wordsOf(await world.examine('rivendell.net'), 'tls'),
    /^bad: .*not for rivendell\.net but for box\.rivendell\.net.* → .*SRV record/,
  );
});

test('names without addresses, name servers without answers and private addresses are told apart', async () => {
  await using world = await FakeWorld.start();
  assert.match(
    wordsOf(await world.examine('lorien.net'), 'dns'),
    /^bad: The name lorien\.net has no address\. → Add an A record/,
  );
  world.hosts.set('mordor.net', 'no-answer');
  assert.match(
    wordsOf(await world.examine('mordor.net'), 'dns'),
    /^warning: No name server tells where mordor\.net is/,
  );
  world.hosts.set('shire.net', { ipv4: ['192.168.1.20'] });
  assert.match(
    wordsOf(await world.examine('shire.net'), 'scope'),
    /^bad: 192\.168\.1\.20 is an address of a home network: nobody outside can reach it\. → Have the name point/,
  );
  world.hosts.set('bree.net', { ipv4: ['100.64.3.3'] });
  const carried = await world.examine('bree.net');
  assert.match(wordsOf(carried, 'scope'), /^bad: .*internet provider \(CGNAT\).* → .*use IPv6 or a tunnel/);
  assert.equal('families' in verdictsOf(carried), false, 'no word of an IPv4 that everybody can reach');
  world.hosts.set('gondor.net', { ipv4: [V4], isLocalOnly: true });
  assert.match(wordsOf(await world.examine('gondor.net'), 'dns'), /^bad: Only this computer or this network knows/);
});

test('closed, silent and unreachable ports are told apart', async () => {
  await using world = await FakeWorld.start();
  world.hosts.set('rivendell.net', { ipv4: [V4] });
  const quick = { limits: { ...usualLimits, connectMs: 200 } };
  for (const [answer, expected] of [
    ['refused', /^bad: Nothing listens on .*:8448: .* → Start the server or the proxy/],
    ['silent', /^bad: .* does not answer at all\. → .*open TCP port 8448 in the firewall/],
    ['unreachable', /^bad: There is no way to .* → Check that the address/],
    ['no-way', /^skipped: .*no way to IPv4/],
  ] as const) {
    world.network.set(`${V4}:8448`, answer);
    const report = await world.examine('rivendell.net', quick);
    assert.match(wordsOf(report, `port ${V4}:8448`), expected);
  }
});

test('one address that works makes up for another that does not, but not without a word', async () => {
  await using world = await FakeWorld.start();
  await rivendell(world);
  world.hosts.set('rivendell.net', { ipv4: [V4], ipv6: [V6] });
  world.network.set(`[${V6}]:8448`, 'refused');
  const report = await world.examine('rivendell.net');
  assert.equal(report.verdict, 'warning');
  assert.match(wordsOf(report, `port [${V6}]:8448`), /^warning: Nothing listens .* Another address answers/);
  assert.match(
    wordsOf(report, 'families'),
    /^warning: It works by IPv4 but not by IPv6\. → Let IPv6 through .* AAAA record away/,
  );
  world.network.set(`[${V6}]:8448`, 'no-way');
  const unseen = await world.examine('rivendell.net');
  assert.match(wordsOf(unseen, 'families'), /^skipped: It works by IPv4; IPv6 could not be tried/);
});

test('a server on IPv6 alone is reached, and warned that many are not', async () => {
  await using world = await FakeWorld.start();
  world.hosts.set('rivendell.net', { ipv6: [V6] });
  const answer = matrixServer({ name: 'rivendell.net', files: clientFile('https://rivendell.net') });
  await world.serve({ at: [`[${V6}]:8448`, `[${V6}]:443`], six: true, certificate: ['rivendell.net'], answer });
  const report = await world.examine('rivendell.net');
  assert.equal(findingOf(report, 'keys').verdict, 'good');
  assert.match(wordsOf(report, 'families'), /^warning: There is only IPv6.* → Add an A record/);
});

test('certificates that others refuse: each says why, and what to do', async () => {
  const chain = await makeChain();
  const leaf = await chain.middle.issue({ dnsNames: ['rivendell.net'] });
  const past = { notBefore: new Date(Date.now() - 90 * DAY), notAfter: new Date(Date.now() - DAY) };
  const future = { notBefore: new Date(Date.now() + DAY), notAfter: new Date(Date.now() + 90 * DAY) };
  const soon = { notBefore: new Date(Date.now() - 80 * DAY), notAfter: new Date(Date.now() + 5 * DAY + 60_000) };
  const today = { notBefore: new Date(Date.now() - 80 * DAY), notAfter: new Date(Date.now() + 3_600_000) };
  const dnsNames = ['rivendell.net'];
  for (const [certificate, expected] of [
    [{ dnsNames, ...past }, /^bad: The certificate has expired on .* → Renew/],
    [{ dnsNames, ...future }, /^bad: The certificate is only good from .* → Check the date/],
    [{ dnsNames, ...soon }, /^warning: The certificate ends in 5 days\. → It should have been renewed/],
    [{ dnsNames, ...today }, /^warning: The certificate ends within a day\. → It should have been renewed/],
    [
      await chain.leafOf('rivendell.net'),
      /^bad: .*not that of Authority in between, the authority in between\. Browsers fetch it.* → Serve the whole chain.*fullchain\.pem/,
    ],
    [
      ['mordor.net'],
      /^bad: The certificate is not for rivendell\.net but for mordor\.net\. → Get a certificate for rivendell\.net/,
    ],
    [
      await selfSigned('rivendell.net', { isNamed: false }),
      /^bad: The certificate names nobody.*subjectAltName.* → Get a certificate for rivendell\.net/,
    ],
    [await selfSigned('rivendell.net'), /^bad: The certificate is signed by itself.* → .*Let’s Encrypt/],
    [leaf, /^bad: .*no certificate in between was sent\. → Serve the whole chain.*fullchain\.pem/],
    [
      { cert: `${leaf.cert}${chain.middle.cert}`, key: leaf.key },
      /^bad: The chain of certificates ends at Upper authority, which nobody knows.* → Serve the whole chain/,
    ],
  ] as const) {
    await using world = await FakeWorld.start();
    await rivendell(world, {}, certificate);
    const report = await world.examine('rivendell.net');
    assert.match(wordsOf(report, 'tls'), expected);
    assert.equal(findingOf(report, 'keys').verdict, 'good', 'the rest is looked at nevertheless');
  }
  await using world = await FakeWorld.start();
  await rivendell(world, {}, { cert: `${leaf.cert}${chain.middle.cert}`, key: leaf.key });
  const whole = await world.examine('rivendell.net', { authorities: [world.authority.cert, chain.root] });
  assert.equal(findingOf(whole, 'tls').verdict, 'good', 'with its whole chain it counts');

  await using other = await FakeWorld.start();
  const brief = { notBefore: new Date(Date.now() - DAY), notAfter: new Date(Date.now() + 5 * DAY + 60_000) };
  await rivendell(other, {}, { dnsNames, ...brief });
  assert.match(
    wordsOf(await other.examine('rivendell.net'), 'tls'),
    /^good: .*another 5 days/,
    'it lives for 6 in all',
  );
});

test('what answers on the port but speaks no proper TLS or HTTP is described', async () => {
  const listen = async (take: Parameters<FakeWorld['listenRaw']>[1], connectMs = 5_000): Promise<string> => {
    const quick = { limits: { ...usualLimits, connectMs } };
    await using world = await FakeWorld.start();
    world.hosts.set('rivendell.net', { ipv4: [V4] });
    await world.listenRaw(`${V4}:8448`, take);
    return wordsOf(await world.examine('rivendell.net', quick), 'tls');
  };
  assert.match(
    await listen((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')),
    /^bad: .*not with TLS.* → Have a reverse proxy/,
  );
  assert.match(
    await listen((socket) => socket.destroy()),
    /^bad: .*hangs up during the TLS handshake.* → Look at the log/,
  );
  assert.match(await listen(() => {}, 300), /^bad: .*never ends the TLS handshake/);
});

test('an answer that drips, breaks off or never comes does not hold the doctor up', async () => {
  await using world = await FakeWorld.start();
  world.hosts.set('rivendell.net', { ipv4: [V4] });
  let timer: NodeJS.Timeout | undefined;
  await world.serve({
    at: `${V4}:8448`,
    certificate: ['rivendell.net'],
    answer: (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      timer = setInterval(() => response.write(' '), 20);
      response.on('close', () => clearInterval(timer));
    },
  });
  const startedAt = performance.now();
  const report = await world.examine('rivendell.net', { limits: { ...usualLimits, answerMs: 300 } });
  assert.match(wordsOf(report, 'answer'), /^bad: .*does not answer in time.* → Look whether the server is overloaded/);
  assert.ok(performance.now() - startedAt < 10_000);
  assert.equal(report.verdict, 'bad');
});

test('the whole look ends when its time is over, and says so', async () => {
  await using world = await FakeWorld.start();
  world.hosts.set('rivendell.net', { ipv4: [V4] });
  world.network.set(`${V4}:8448`, 'silent').set(`${V4}:443`, 'silent');
  const report = await world.examine('rivendell.net', { limits: { ...usualLimits, totalMs: 300 } });
  assert.match(wordsOf(report, 'time'), /^warning: The check was broken off/);
});

test('a web server without Matrix, a proxy without a server and a redirect are told apart', async () => {
  for (const [status, headers, expected] of [
    [200, {}, /^bad: A web server answers at .*no Matrix server\. → Have the proxy pass everything below \/_matrix/],
    [404, {}, /^bad: A web server answers/],
    [502, {}, /^bad: A proxy answers .*does not get through.* → Look whether Hearth runs/],
    [301, { location: 'https://elsewhere.net/' }, /^bad: .*redirects other servers elsewhere/],
    [403, {}, /^bad: .*keeps other servers out.* → Except \/_matrix/],
  ] as const) {
    await using world = await FakeWorld.start();
    await rivendell(world, { files: { '/_matrix/federation/v1/version': { status, headers, body: '<html>' } } });
    assert.match(wordsOf(await world.examine('rivendell.net'), 'answer'), expected);
  }
});

test('the wrong server, wrong keys, stale keys and a wrong clock are found out', async () => {
  const cases: readonly [Partial<MatrixWishes>, string, RegExp][] = [
    [
      { claims: 'mordor.net' },
      'keys',
      /^bad: Another server answers there: it calls itself mordor\.net.* → Either the records/,
    ],
    [{ signedBy: someKey() }, 'keys', /^bad: The signing keys shown .* are not valid: no signature/],
    [{ validUntil: Date.now() - DAY }, 'keys', /^bad: .*out of date since.* → Check the clock of the server/],
    [
      { files: { '/_matrix/key/v2/server': { status: 404, body: '{}' } } },
      'keys',
      /^bad: .*does not show its signing keys \(status 404\)/,
    ],
    [{ date: new Date(Date.now() + 3_600_000) }, 'clock', /^warning: Its clock is 60 minutes ahead.* → .*NTP/],
    [{ date: new Date(Date.now() - 600_000) }, 'clock', /^warning: Its clock is 10 minutes behind/],
  ];
  for (const [wishes, id, expected] of cases) {
    await using world = await FakeWorld.start();
    await rivendell(world, wishes);
    assert.match(wordsOf(await world.examine('rivendell.net'), id), expected);
  }
});

test('a proxy that decodes the addresses of requests is caught', async () => {
  await using world = await FakeWorld.start();
  const inner = matrixServer({ name: 'rivendell.net' });
  world.hosts.set('rivendell.net', { ipv4: [V4] });
  await world.serve({
    at: `${V4}:8448`,
    certificate: ['rivendell.net'],
    answer: (request, response) => {
      request.url = decodeURIComponent(request.url ?? '');
      inner(request, response);
    },
  });
  assert.match(
    wordsOf(await world.examine('rivendell.net'), 'path'),
    /^bad: The proxy changes the addresses.* → .*nocanon/,
  );
});

test('the way of clients: a lacking, broken or unreadable file, and a server that browsers may not talk to', async () => {
  const path = '/.well-known/matrix/client';
  const base = JSON.stringify({ 'm.homeserver': { base_url: 'https://rivendell.net' } });
  const open = { 'access-control-allow-origin': '*' };
  for (const [files, id, expected] of [
    [{ [path]: { status: 404 } }, 'client-file', /^warning: rivendell\.net does not tell clients.* → Serve the file/],
    [{ [path]: { body: 'hello' } }, 'client-file', /^warning: .*does not \(status 200, no JSON\)/],
    [{ [path]: { body: '{"m.homeserver": {}}' } }, 'client-file', /^warning: .*no proper "base_url"/],
    [
      { [path]: { body: base } },
      'client-file',
      /^warning: Clients that run in a browser may not read.* → .*Access-Control-Allow-Origin: \*/,
    ],
    [
      { [path]: { body: base, headers: { ...open, 'content-type': 'text/plain' } } },
      'client-file',
      /^warning: .*not marked as JSON.* → .*Content-Type/,
    ],
    [
      { '/_matrix/client/versions': { status: 502, body: 'x' } },
      'client-api',
      /^bad: At https:\/\/rivendell\.net no Matrix server answers clients/,
    ],
    [
      { '/_matrix/client/versions': { body: '{"versions": ["v1.1"]}' } },
      'client-api',
      /^warning: Clients that run in a browser may not talk/,
    ],
    [
      {
        '/_matrix/client/versions': {
          body: '{"versions": ["v1.1"]}',
          headers: { 'access-control-allow-origin': '*, *' },
        },
      },
      'client-api',
      /^warning: .*"Access-Control-Allow-Origin: \*, \*".* → .*twice is once too often/,
    ],
  ] as const) {
    await using world = await FakeWorld.start();
    await rivendell(world, { files });
    const report = await world.examine('rivendell.net');
    assert.match(wordsOf(report, id), expected);
    assert.equal(findingOf(report, 'keys').verdict, 'good', 'servers do not mind');
  }
});

test('what another server leads to in our own network is not called', async () => {
  const inside = '192.168.1.1';
  await using world = await FakeWorld.start();
  const called: string[] = [];
  const view = world.view();
  const dial: typeof view.dial = (address, port, signal) => {
    called.push(`${address}:${port}`);
    return view.dial(address, port, signal);
  };
  world.hosts.set('mordor.net', { ipv4: [V4] });
  world.hosts.set('router.mordor.net', { ipv4: [inside] });
  const files = {
    '/.well-known/matrix/server': { status: 302, headers: { location: 'https://router.mordor.net/reboot' } },
    ...clientFile('http://router.mordor.net'),
  };
  await world.serve({
    at: `${V4}:443`,
    certificate: ['mordor.net'],
    answer: matrixServer({ name: 'mordor.net', files }),
  });
  world.services.set('_matrix-fed._tcp.mordor.net', [
    { priority: 1, weight: 1, port: 80, target: 'router.mordor.net' },
  ]);
  const report = await world.examine('mordor.net', { dial });
  assert.deepEqual(new Set(called), new Set([`${V4}:443`]));
  assert.match(wordsOf(report, 'scope'), /^bad: 192\.168\.1\.1 is an address of a home network/);
  assert.match(wordsOf(report, 'client-api'), /router\.mordor\.net leads to 192\.168\.1\.1/);
});

test('a look that is called off ends at once', async () => {
  await using world = await FakeWorld.start();
  world.hosts.set('rivendell.net', { ipv4: [V4] });
  world.network.set(`${V4}:8448`, 'silent').set(`${V4}:443`, 'silent');
  const { examine } = await import('../../server/appliance/doctor/examine.ts');
  const abort = new AbortController();
  const looking = examine('rivendell.net', { world: world.view(), signal: abort.signal });
  abort.abort(new Error('enough'));
  await assert.rejects(looking, /enough/);
});
