import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildOutbound } from '../../server/config/build-federation.ts';
import { complaints, load } from './files.ts';

const nothing = {
  ip_range_blacklist: [],
  ip_range_whitelist: [],
  http_proxy: undefined,
  https_proxy: undefined,
  no_proxy_hosts: undefined,
  user_agent_suffix: undefined,
};

test('proxies come from the environment unless the configuration names them, or says that there is none', () => {
  const environment = {
    http_proxy: 'one:1',
    HTTPS_PROXY: 'two:2',
    https_proxy: '',
    no_proxy: 'a.example, 10.0.0.0/8,',
  };
  const { httpProxy, httpsProxy, noProxyHosts } = buildOutbound(nothing, environment);
  assert.deepEqual([httpProxy, httpsProxy, noProxyHosts], ['one:1', 'two:2', ['a.example', '10.0.0.0/8']]);
  const written = buildOutbound(
    { ...nothing, http_proxy: '', https_proxy: 'three:3', no_proxy_hosts: [] },
    environment,
  );
  assert.deepEqual([written.httpProxy, written.httpsProxy, written.noProxyHosts], ['', 'three:3', []]);
  assert.equal(buildOutbound(nothing, {}).httpProxy, undefined);
});

test('a proxy is checked without repeating its password', (t) => {
  for (const proxy of ['proxy.example', 'http://us%40er:pass@proxy.example:80/', 'socks5h://[::1]:9050', "''"]) {
    load(t, `https_proxy: ${proxy}\n`);
  }
  const [complaint, ...rest] = complaints(t, 'https_proxy: ftp://user:secret@proxy.example\n');
  assert.deepEqual(rest, []);
  assert.match(complaint ?? '', /^2:14 https_proxy expected a proxy/);
  assert.doesNotMatch(complaint ?? '', /secret/);
});

test('a file of authorities that is not there is told before the start', (t) => {
  const [complaint] = complaints(t, 'federation_custom_ca_list: [gone.pem]\n');
  assert.match(complaint ?? '', /federation_custom_ca_list.*no such file/);
});
