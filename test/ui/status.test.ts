import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Job, Status } from '../../server/appliance/contract.ts';
import { Onlooker } from './browser.ts';
import { FakeHouse, FakeRefusal } from './fake-house.ts';
import { doctorReport, household } from './household.ts';

let onlooker: Onlooker;
before(async () => {
  onlooker = await Onlooker.start();
});
after(() => onlooker[Symbol.asyncDispose]());

test('the one line of truth follows what the server tells, without a reload', async () => {
  const status = household()['GET /status'];
  await using house = await FakeHouse.start({ 'GET /status': status });
  await using view = await onlooker.open(house.link());
  const line = view.page.locator('.truth-line');
  await view.heading('Status');
  const words: readonly (readonly [Status['line'], string])[] = [
    ['unreachable', 'Not reachable from outside'],
    ['catching-up', 'Catching up'],
    ['needs-you', 'Needs you'],
    ['paused', 'Paused'],
    ['failed', 'Not running'],
    ['network-only', 'On your home network'],
  ];
  await line.getByText('Online').waitFor();
  for (const [name, said] of words) {
    house.answers['GET /status'] = { ...status, line: name };
    house.tell({ topic: 'status' });
    await line.getByText(said).waitFor();
    await view.picture(`status-${name}`);
    await view.assertAccessible();
  }
});

test('what there is nothing to do about still leads to the page that tells more', async () => {
  const status = household()['GET /status'];
  await using house = await FakeHouse.start({
    'GET /status': {
      ...status,
      line: 'catching-up',
      reasons: [
        { kind: 'catching-up', text: '3 rooms are catching up on messages.', page: 'rooms' },
        { kind: 'well', text: 'It runs.', page: 'status' },
      ],
    },
  });
  await using view = await onlooker.open(house.link());
  const reasons = view.page.locator('.reasons');
  await reasons.getByText('3 rooms are catching up on messages.').waitFor();
  assert.equal(await reasons.getByRole('link').count(), 1);
  await view.assertAccessible();
  await reasons.getByRole('link').click();
  await view.heading('Rooms');
});

test('a server that has just begun has inviting words where there is nothing to show', async () => {
  const status = household()['GET /status'];
  const nothing = Array.from({ length: 24 }, () => 0);
  await using house = await FakeHouse.start({
    'GET /status': {
      ...status,
      line: 'network-only',
      reasons: [],
      counts: { people: 1, devices: 0, rooms: 0, messagesToday: 0 },
      federation: { servers: [], queued: 0, failing: 0, catchingUpRooms: 0 },
    },
    'GET /history': {
      startsAt: Date.now() - 24 * 3_600_000,
      messages: nothing,
      activePeople: nothing,
      residentBytes: nothing,
    },
    'GET /problems': { problems: [] },
    'GET /doctor': {},
  });
  await using view = await onlooker.open(house.link());
  await view.heading('Status');
  for (const words of [
    'Nothing needs your attention.',
    'No problems lately',
    'No other servers yet',
    'The first messages will draw their line here.',
  ]) {
    await view.page.getByText(words).waitFor();
  }
  await view.picture('status-new');
  await view.assertAccessible();
});

test('what cannot be had says why and can be tried again', async () => {
  await using house = await FakeHouse.start({ 'GET /status': new FakeRefusal(500, 'The disk could not be read') });
  await using view = await onlooker.open(house.link());
  await view.page.getByText('The disk could not be read.').waitFor();
  await view.picture('status-error');
  await view.assertAccessible();
  house.answers['GET /status'] = household()['GET /status'];
  await view.button('Try again').click();
  await view.page.locator('.truth-line').getByText('Online').waitFor();
});

test('a device is connected by what the screen shows', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link(), { size: 'phone' });
  await view.heading('Status');
  await view.button('Connect a device').click();
  const dialog = view.page.getByRole('dialog', { name: 'Connect a device' });
  await dialog.getByRole('img', { name: /^QR code/ }).waitFor();
  await view.picture('connect');
  await view.assertAccessible();
  await dialog.getByRole('button', { name: 'Copy: Address for apps' }).click();
  assert.equal(await view.page.evaluate(() => navigator.clipboard.readText()), 'https://matrix.brook.example');
  await view.page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
  assert.equal(
    await view.button('Connect a device').evaluate((element) => element === document.activeElement),
    true,
    'the keyboard is back where it was',
  );
});

test('pausing asks first; what is dismissed goes', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link());
  await view.heading('Status');
  const calls = (): string[] => house.seen.map(({ call }) => call);
  await view.button('More for the server').click();
  await view.page.getByRole('menuitem', { name: 'Pause' }).click();
  const question = view.page.getByRole('dialog', { name: 'Pause the server?' });
  await question.waitFor();
  await view.assertAccessible();
  await view.page.keyboard.press('Escape');
  await question.waitFor({ state: 'hidden' });
  assert.equal(calls().includes('POST /server/pause'), false);
  await view.button('More for the server').click();
  await view.page.getByRole('menuitem', { name: 'Pause' }).click();
  house.answers['GET /status'] = household()['POST /server/pause'];
  await question.getByRole('button', { name: 'Pause', exact: true }).click();
  await view.page.locator('.truth-line').getByText('Paused').waitFor();
  assert.equal(calls().includes('POST /server/pause'), true);

  house.answers['GET /problems'] = { problems: [] };
  await view.button('Dismiss this problem').first().click();
  await view.page.getByText('No problems lately').waitFor();
  assert.equal(calls().includes('POST /problems/p1/dismiss'), true);
});

test('long work is seen from every page, and can be cancelled', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link());
  await view.heading('Status');
  const job: Job = {
    id: 'j1',
    kind: 'backup',
    title: 'Backup of brook.example',
    state: 'running',
    startedAt: Date.now(),
    progress: 0.25,
    step: 'Copying media',
    canCancel: true,
  };
  house.job(job);
  await view.button(/1 thing under way/).click();
  const tray = view.page.getByRole('region', { name: 'Long work' });
  await tray.getByText('Copying media').waitFor();
  assert.equal(await tray.getByRole('progressbar', { name: job.title }).getAttribute('aria-valuenow'), '0.25');
  await view.picture('jobs');
  await view.assertAccessible();
  const answered = view.page.waitForResponse(/jobs\/j1\/cancel$/);
  await tray.getByRole('button', { name: 'Cancel' }).click();
  assert.equal((await answered).status(), 200);
  house.job({ ...job, state: 'cancelled', canCancel: false, endedAt: Date.now() });
  await tray.getByText('cancelled').waitFor();
  house.job({
    ...job,
    id: 'j2',
    state: 'failed',
    canCancel: false,
    endedAt: Date.now(),
    error: { errcode: 'M_UNKNOWN', error: 'The disk is full.' },
  });
  await view.page.getByRole('status').getByText('Backup of brook.example: failed. The disk is full.').waitFor();
});

test('the doctor is sent to any server, and its findings appear while it looks', async () => {
  const report = doctorReport(Date.now());
  await using house = await FakeHouse.start({ 'GET /doctor': {} });
  await using view = await onlooker.open(house.link());
  await view.heading('Status');
  await view.page.goto(`${house.url}/#/reach`);
  await view.page.getByText('One press tells you whether the world finds your server').waitFor();
  await view.field('Server to check').fill('mill.example');
  await view.button('Check now').click();
  assert.deepEqual(house.seen.find(({ call }) => call === 'POST /doctor')?.body, { serverName: 'mill.example' });
  const job: Job = {
    id: 'doctor-1',
    kind: 'doctor',
    title: 'Checking mill.example',
    state: 'running',
    startedAt: Date.now(),
    progress: 0.4,
    canCancel: true,
  };
  house.job(job);
  const { endedAt: _endedAt, ...unfinished } = report;
  const mill = { ...report, serverName: 'mill.example' };
  house.answers['GET /doctor'] = {
    latest: { ...unfinished, serverName: 'mill.example', findings: report.findings.slice(0, 2) },
  };
  house.tell({ topic: 'doctor' });
  const found = view.page.getByRole('region', { name: 'Check the way' });
  await found.getByText('It leads to matrix.brook.example:443.').waitFor();
  await view.picture('reach-checking');
  await view.assertAccessible();
  house.answers['GET /doctor'] = { last: { ...report, summary: 'An older look at brook.example.' }, latest: mill };
  house.job({ ...job, state: 'done', progress: 1, canCancel: false, endedAt: Date.now() });
  await found.getByText(report.summary).waitFor();
  await found.getByText('Forward port 443 (TCP) in your router to 192.168.1.20.').waitFor();
});

test('from where the server is reached can be changed later, and that a restart is due is said', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link());
  await view.heading('Status');
  await view.page.goto(`${house.url}/#/reach`);
  await view.button('Change').click();
  const dialog = view.page.getByRole('dialog', { name: 'Change from where it is reached' });
  await dialog.getByText('Behind a reverse proxy or tunnel').click();
  await dialog.getByLabel('Address for clients').fill('https://matrix.brook.example/');
  await view.picture('reach-change');
  await view.assertAccessible();
  house.answers['PUT /reach'] = new FakeRefusal(400, 'That address belongs to another server', 'publicUrl');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.getByText('That address belongs to another server.').waitFor();
  house.answers['PUT /reach'] = { needsRestart: true };
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.waitFor({ state: 'hidden' });
  assert.deepEqual(house.seen.filter(({ call }) => call === 'PUT /reach').at(-1)?.body, {
    reach: 'proxy',
    publicUrl: 'https://matrix.brook.example',
  });
  await view.button('Restart now').waitFor();
});

test('what is to be published is copied as it stands', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link());
  await view.heading('Status');
  await view.page.goto(`${house.url}/#/reach`);
  await view.button(/^Copy https:\/\/brook\.example\/\.well-known\/matrix\/server/).click();
  await view.page.getByText('Copied to the clipboard.').waitFor();
  assert.equal(
    await view.page.evaluate(() => navigator.clipboard.readText()),
    '{\n  "m.server": "matrix.brook.example:443"\n}\n',
  );
  for (const tab of ['DNS records', 'Ports', 'Reverse proxy']) {
    await view.page.getByRole('tab', { name: tab }).click();
    await view.page.getByRole('tabpanel', { name: tab }).getByRole('button', { name: 'Check this now' }).waitFor();
    await view.picture(`reach-${tab.toLowerCase().replaceAll(' ', '-')}`);
    await view.assertAccessible();
  }
  await view.page.getByRole('tab', { name: 'Ports' }).click();
  const ports = view.page.getByRole('tabpanel', { name: 'Ports' });
  await ports.getByText('Nobody answers at 203.0.113.20, port 443.').waitFor();
  const asked = view.page.waitForRequest(/control\/doctor$/);
  await ports.getByRole('button', { name: 'Check this now' }).click();
  assert.equal((await asked).postData(), '{}', 'a live check looks at this server');
  await view.page.getByRole('tab', { name: 'Reverse proxy' }).click();
  await view.button(/nginx Program/).click();
  await view.page.getByRole('option', { name: 'Caddy' }).click();
  await view.page.getByRole('region', { name: '/etc/caddy/Caddyfile' }).waitFor();
});
