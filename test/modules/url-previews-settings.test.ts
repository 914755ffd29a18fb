import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { load, problemsOf } from '../config/files.ts';

const NAME = 'server_name: home.example\n';
const ENABLED = 'url_preview_enabled: true\nurl_preview_ip_range_blacklist: []\n';

function single(t: TestContext, text: string): string {
  const problems = problemsOf(t, NAME + ENABLED + text);
  assert.equal(problems.length, 1, JSON.stringify(problems));
  return problems[0]?.message ?? '';
}

test('options of previews are honoured without a warning, and the deny list has to be there', (t) => {
  const { config, warnings } = load(
    t,
    `${ENABLED}url_preview_ip_range_whitelist: ['192.168.1.1']
url_preview_url_blacklist: [{username: '*'}, {netloc: 'a[b-d].example', path: '^/x'}]
url_preview_accept_language: [de]
max_spider_size: 8M
oembed: {disable_default_providers: true}
`,
  );
  assert.deepEqual(warnings, []);
  const { blockedUrls, maxPageBytes, oembedDefaultProviders } = config.urlPreviews;
  assert.deepEqual(
    blockedUrls.map((rule) => rule.map(({ part, pattern }) => `${part} ${pattern.source}`)),
    [['username ^.*$'], ['netloc ^a[b-d]\\.example$', 'path ^\\/x']],
  );
  assert.equal(maxPageBytes, 8 * 1024 ** 2);
  assert.equal(oembedDefaultProviders, false);
  assert.match(
    problemsOf(t, `${NAME}url_preview_enabled: true\n`)[0]?.message ?? '',
    /needs url_preview_ip_range_blacklist/,
  );
});

test('a rule for addresses that could never hold is refused with what is wrong', (t) => {
  assert.match(single(t, "url_preview_url_blacklist: [{host: 'a.example'}]\n"), /host is no part of an address/);
  assert.match(single(t, "url_preview_url_blacklist: [{netloc: '^(a'}]\n"), /is no regular expression/);
});

test('a list of oEmbed providers that cannot be used is refused with its path', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'hearth-oembed-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, 'providers.json');
  const option = `oembed: {additional_providers: ['${path}']}\n`;
  assert.match(single(t, option), /cannot be read/);
  for (const [text, message] of [
    ['{', /is not JSON/],
    ['{}', /is no list/],
    ['[{"provider_name":"A"}]', /without endpoints/],
    ['[{"endpoints":[{"url":"ftp://a.example"}]}]', /without an http/],
  ] as const) {
    writeFileSync(path, text);
    assert.match(single(t, option), message);
  }
  writeFileSync(
    path,
    JSON.stringify([
      { endpoints: [{ url: 'https://a.example/o', schemes: ['https://a.example/*'] }, { url: 'https://b.example/o' }] },
    ]),
  );
  assert.deepEqual(load(t, ENABLED + option).config.urlPreviews.oembedProviders, [
    { endpoint: 'https://a.example/o', schemes: ['https://a.example/*'] },
  ]);
});
