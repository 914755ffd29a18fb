import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { AnswerOf } from '../../../server/appliance/contract.ts';
import { Onlooker } from '../browser.ts';
import { FakeRefusal } from '../fake-house.ts';
import { doctorReport, household } from '../household.ts';
import { nothingYet, Visit } from './visit.ts';

let onlooker: Onlooker;
before(async () => {
  onlooker = await Onlooker.start();
});
after(() => onlooker[Symbol.asyncDispose]());

test('files are chosen and removed after it was said what is lost', async () => {
  let page = household()['GET /media'];
  await using visit = await Visit.start(onlooker, 'media', {
    'GET /media': () => page,
    'POST /media/remove': ({ body }) => {
      const gone = (body as { media: { mediaId: string }[] }).media.map(({ mediaId }) => mediaId);
      page = { ...page, media: page.media.filter(({ mediaId }) => !gone.includes(mediaId) || mediaId === 'media1') };
      return { removed: gone.length - 1, bytes: 480_000_000 };
    },
  });
  const { view } = visit;
  for (const at of [1, 2, 3]) await visit.view.page.getByRole('row').nth(at).locator('.checkbox').click();
  const bar = view.page.getByRole('group', { name: /^3 chosen/ });
  await view.assertAccessible();
  await view.picture('media-chosen');
  await bar.getByRole('button', { name: 'Remove' }).click();
  await visit.dialog.getByText('2 of them were sent by people here: they are gone for good').waitFor();
  await visit.dialog.getByText('1 of them is of another server').waitFor();
  await visit.dialog.getByRole('button', { name: 'Remove' }).click();
  await visit.said('2 of 3 files removed, 480 MB free. The others were gone already.');
  assert.deepEqual(visit.sent('POST /media/remove'), [
    {
      media: [
        { origin: 'brook.example', mediaId: 'media0' },
        { origin: 'brook.example', mediaId: 'media1' },
        { origin: 'mill.example', mediaId: 'media2' },
      ],
    },
  ]);
  await bar.waitFor({ state: 'hidden' });
});

test('the list of files asks for what is chosen to be seen', async () => {
  const asked: string[] = [];
  const page = household()['GET /media'];
  await using visit = await Visit.start(onlooker, 'media', {
    'GET /media': ({ query }) => {
      asked.push(query.toString());
      return page;
    },
  });
  await visit.view.page.getByRole('radio', { name: 'Of others' }).click();
  await visit.chooseFrom('Sort by', 'Last looked at');
  await visit.view.page.locator('th[aria-sort]').getByText('Looked at').waitFor();
  await visit.view.button('Next').click();
  await visit.shows('13–24 of 340');
  assert.equal(asked[0], 'order=size&from=0&limit=50');
  assert.equal(asked.at(-1), 'order=access&from=12&limit=50&origin=remote');
});

test('the limit for media of other servers is changed, and what is not used removed', async () => {
  await using visit = await Visit.start(onlooker, 'media', { 'PUT /settings': { needsRestart: false } });
  const { view } = visit;
  await view.button('Change limit').click();
  await visit.dialog.getByLabel('Limit', { exact: true }).fill('much');
  await visit.dialog.getByText('This has to be a number.').waitFor();
  await visit.dialog.getByLabel('Limit', { exact: true }).fill('4');
  await visit.chooseFrom('Unit of: Limit', 'GiB');
  await visit.dialog.getByRole('button', { name: 'Save' }).click();
  await visit.said('The limit has been changed.');
  assert.deepEqual(visit.sent('PUT /settings'), [{ values: { 'hearth.remote_media_cache_size': 4 * 2 ** 30 } }]);
  await view.button('Remove what is not used').click();
  await visit.chooseFrom('Not looked at for', '30 days');
  await visit.dialog.getByRole('button', { name: 'Remove' }).click();
  await visit.dialog.waitFor({ state: 'hidden' });
  assert.deepEqual(visit.sent('POST /media/purge-remote'), [{ unusedForDays: 30 }]);
});

test('registration is opened only after its dangers have been read', async () => {
  let mode: 'closed' | 'invitation' | 'open' = 'closed';
  const reasons = ['Such servers are used to send spam.'];
  await using visit = await Visit.start(onlooker, 'registration', {
    'GET /registration': () => ({ mode, openIsSafe: false, reasons }),
    'PUT /registration': ({ body }) => {
      ({ mode } = body as { mode: typeof mode });
      return { needsRestart: true };
    },
  });
  const { view } = visit;
  await view.page.getByText('Whoever has an invitation').click();
  await view.button('Save').click();
  await visit.said('Who may come has been changed.');
  await visit.shows('A restart is due');
  await view.page.getByText('Everybody', { exact: true }).click();
  await visit.shows('Open to everybody is dangerous here');
  await view.assertAccessible();
  await view.picture('registration-open');
  await view.button('Save').click();
  await visit.dialog.getByText('Such servers are used to send spam.').waitFor();
  await visit.dialog.getByRole('button', { name: 'Cancel' }).click();
  assert.deepEqual(visit.sent('PUT /registration'), [{ mode: 'invitation' }]);
  await view.button('Save').click();
  await visit.dialog.getByRole('button', { name: 'Open to everybody' }).click();
  await visit.shows('Anybody can make an account here');
});

test('who may come is said to be so at once, or after a restart and what holds until then', async () => {
  let registration: AnswerOf<'GET /registration'> = { mode: 'open', openIsSafe: true, reasons: [] };
  await using visit = await Visit.start(onlooker, 'registration', {
    'GET /registration': () => registration,
    'PUT /registration': ({ body }) => {
      const { mode } = body as { mode: typeof registration.mode };
      registration = { ...registration, mode, ...(mode === 'open' ? { until: 'closed' } : {}) };
      return { needsRestart: mode === 'open' };
    },
  });
  const { view } = visit;
  await view.page.getByText('Nobody by themselves').click();
  await view.button('Save').click();
  await visit.said('Who may come has been changed, as of now.');
  assert.equal(await view.page.getByText('A restart is due').count(), 0);
  await view.page.getByText('Everybody', { exact: true }).click();
  await view.button('Save').click();
  await visit.shows('Until then this holds: Nobody by themselves.');
  await visit.shows('A restart is due');
  await view.assertAccessible();
});

test('a TURN server is set with a name and password, and a wrong address is refused at its field', async () => {
  const { settings } = household()['GET /calls'];
  let isRefused = true;
  await using visit = await Visit.start(onlooker, 'calls', {
    'GET /calls': { settings: { ...settings, hasSharedSecret: true } },
    'PUT /calls': () => {
      if (!isRefused) return { needsRestart: false };
      isRefused = false;
      return new FakeRefusal(400, '"turm:x" is no address of a TURN server', 'uris');
    },
  });
  const { view } = visit;
  await visit.shows('One is set. Leave this empty to keep it.');
  await view.field('Addresses').fill('turm:x\n\n turns:relay.brook.example ');
  await view.button('Save').click();
  await visit.shows('"turm:x" is no address of a TURN server.');
  await view.page.getByText('With one name and password').click();
  await view.field('User name').fill('hearth');
  await view.field('Password').fill('secret');
  await view.button('Save').click();
  await visit.said('The settings for calls have been saved.');
  const [first, second] = visit.sent('PUT /calls');
  assert.deepEqual(first, {
    uris: ['turm:x', 'turns:relay.brook.example'],
    username: '',
    password: '',
    lifetimeSeconds: 86_400,
    allowGuests: false,
  });
  assert.deepEqual(second, {
    uris: ['turm:x', 'turns:relay.brook.example'],
    sharedSecret: '',
    username: 'hearth',
    password: 'secret',
    lifetimeSeconds: 86_400,
    allowGuests: false,
  });
});

test('who has no TURN server is led through setting one up, and has address and secret filled in', async () => {
  await using visit = await Visit.start(onlooker, 'calls', nothingYet);
  const { view } = visit;
  await visit.shows('Install coturn on it.');
  const host = view.field('Name or address of the TURN server');
  assert.match(await host.inputValue(), /^turn\./);
  await host.fill('https://wrong');
  await visit.shows('Only the name or address, such as turn.example.com.');
  assert.ok(await view.button('Fill them in').isDisabled());
  await host.fill('2001:db8::5');
  const config = await view.page.getByRole('region', { name: '/etc/turnserver.conf' }).innerText();
  const [, secret = ''] = /^static-auth-secret=([0-9a-f]{64})$/m.exec(config) ?? [];
  assert.notEqual(secret, '');
  await view.assertAccessible();
  await view.picture('calls-guide');
  await view.button('Fill them in').click();
  await visit.said('Filled in above. Save it there.');
  await view.button('Save').click();
  await visit.said('The settings for calls have been saved.');
  assert.deepEqual(visit.sent('PUT /calls'), [
    {
      uris: ['turn:[2001:db8::5]:3478?transport=udp', 'turn:[2001:db8::5]:3478?transport=tcp'],
      sharedSecret: secret,
      username: '',
      password: '',
      lifetimeSeconds: 3600,
      allowGuests: true,
    },
  ]);
});

test('TURN servers are tested, and credentials made', async () => {
  const calls = household()['GET /calls'];
  await using visit = await Visit.start(onlooker, 'calls', {
    'GET /calls': { ...calls, last: { ...doctorReport(Date.now()), summary: 'Calls cannot be relayed.' } },
  });
  const { view } = visit;
  await visit.shows('Calls cannot be relayed.');
  await visit.shows('Forward port 443 (TCP) in your router to 192.168.1.20.');
  await view.button('Test again').click();
  visit.house.job({
    id: 'job-1',
    kind: 'turn',
    title: 'Have something relayed',
    state: 'running',
    startedAt: Date.now(),
    canCancel: true,
  });
  await view.page.getByRole('region', { name: 'Test' }).getByRole('progressbar').waitFor();
  await view.button('Make credentials').click();
  await visit.shows('1799999999:hearth');
  await visit.shows('Good for 1 day');
  await view.assertAccessible();
  await view.picture('calls-tested');
});

test('a household that has just begun is told on every page what will be there', async () => {
  await using visit = await Visit.start(onlooker, 'people', nothingYet);
  for (const [place, sentence] of [
    ['people', 'Nobody here yet'],
    ['people/invitations', 'No invitations'],
    ['people/strangers', 'Nobody is waiting'],
    ['rooms', 'No rooms yet'],
    ['media', 'No files here'],
    ['calls', 'No TURN server is set'],
    ['backups', 'There is no backup yet'],
    ['logs', 'Nothing in the log'],
  ] as const) {
    await visit.goTo(place);
    await visit.shows(sentence);
    await visit.view.assertAccessible();
    await visit.view.picture(`${place.replace('/', '-')}-empty`);
  }
});

test('what the server refuses to tell is said, and can be asked for again', async () => {
  const refused = new FakeRefusal(503, 'The server is paused');
  await using visit = await Visit.start(onlooker, 'rooms', { 'GET /rooms': refused, 'GET /media': refused });
  await visit.shows('Not available at the moment');
  await visit.shows('The server is paused.');
  await visit.view.assertAccessible();
  visit.house.answers['GET /rooms'] = household()['GET /rooms'];
  await visit.view.button('Try again').click();
  await visit.row('Dinner').waitFor();
});
