import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { LogLine } from '../../../server/appliance/contract.ts';
import { Onlooker } from '../browser.ts';
import { FakeRefusal } from '../fake-house.ts';
import { household } from '../household.ts';
import { nothingYet, Visit } from './visit.ts';

let onlooker: Onlooker;
before(async () => {
  onlooker = await Onlooker.start();
});
after(() => onlooker[Symbol.asyncDispose]());

test('settings are changed together, and those that need a restart lead to one', async () => {
  await using visit = await Visit.start(onlooker, 'settings', {});
  const { view } = visit;
  await view.field('Address for clients').fill('https://hearth.brook.example');
  await view.field('Largest upload').fill('1.5');
  await visit.chooseFrom('Unit of: Largest upload', 'GiB');
  await view.page.getByText('Show who is online').click();
  await visit.chooseFrom('How much is logged', 'Everything');
  await view.field('Servers that are not talked to').fill('lucky.example\n\n spam.example ');
  await view.button('Back to the default of Keep media of other servers for').click();
  await visit.shows('6 changes');
  await view.assertAccessible();
  await view.picture('settings-changed');
  await view.button('Save').click();
  await visit.said('The settings have been saved.');
  const [sent] = visit.sent('PUT /settings') as { values: object; was: object }[];
  assert.deepEqual(
    sent?.was,
    Object.fromEntries(
      household()
        ['GET /settings'].settings.filter(({ path }) => Object.hasOwn(sent?.values ?? {}, path))
        .map(({ path, value }) => [path, value]),
    ),
    'what each was goes along',
  );
  assert.deepEqual(sent?.values, {
    public_baseurl: 'https://hearth.brook.example',
    blocked_servers: ['lucky.example', 'spam.example'],
    max_upload_size: 1.5 * 2 ** 30,
    retention: null,
    'presence.enabled': false,
    'log.level': 'debug',
  });
  await view.button('Restart now').click();
  await visit.dialog.getByRole('button', { name: 'Restart' }).click();
  await visit.said('The server has been restarted.');
  assert.equal(visit.sent('POST /server/restart').length, 1);
  await view.page.getByText('A restart is due').waitFor({ state: 'hidden' });
});

test('what cannot be a value is not sent, and what the server refuses stands at its field', async () => {
  await using visit = await Visit.start(onlooker, 'settings', {
    'PUT /settings': new FakeRefusal(400, 'This has to be at least 1', 'limit'),
  });
  const { view } = visit;
  const limit = view.field('Largest room to join');
  await limit.fill('many');
  await visit.shows('1 value cannot be used');
  assert.equal(await view.button('Save').isDisabled(), true);
  await limit.fill('0');
  await view.button('Save').click();
  await visit.shows('This has to be at least 1.');
  assert.equal(await limit.evaluate((field) => field === document.activeElement), true, 'the keyboard is there');
  assert.equal(await limit.getAttribute('aria-invalid'), 'true');
  await view.button('Discard').click();
  assert.equal(await limit.inputValue(), '5000');
  await view.button('Save').waitFor({ state: 'hidden' });
});

test('what somebody else has changed meanwhile is said at its field, and saved only if that is meant', async () => {
  const settings = household()['GET /settings'];
  let tries = 0;
  await using visit = await Visit.start(onlooker, 'settings', {
    'GET /settings': () => ({
      ...settings,
      settings: settings.settings.map((each) =>
        each.path === 'max_upload_size' && tries > 0 ? { ...each, value: 7 * 2 ** 20, isSet: true } : each,
      ),
    }),
    'PUT /settings': () => {
      tries += 1;
      if (tries === 1) return new FakeRefusal(409, 'This was changed meanwhile', 'max_upload_size');
      return { needsRestart: false };
    },
  });
  const { view } = visit;
  await view.field('Largest upload').fill('9');
  await view.button('Save').click();
  await visit.shows('This was changed meanwhile.');
  assert.equal(await view.field('Largest upload').inputValue(), '9', 'what was typed stays');
  await view.button('Save').click();
  await visit.said('The settings have been saved.');
  const sent = visit.sent('PUT /settings') as { was: Record<string, unknown> }[];
  assert.deepEqual(
    sent.map(({ was }) => was['max_upload_size']),
    [50 * 2 ** 20, 7 * 2 ** 20],
  );
});

test('a secret is never shown, stays when nothing is typed, and can be taken out', async () => {
  await using visit = await Visit.start(onlooker, 'settings', {});
  const { view } = visit;
  const secret = view.field('Password for the mail server');
  assert.equal(await secret.inputValue(), '');
  await visit.shows('The mail server does not take this password.');
  await view.button('Remove it of Password for the mail server').click();
  await visit.shows('Will be removed.');
  await view.button('Save').click();
  await visit.said('The settings have been saved.');
  assert.deepEqual(visit.sent('PUT /settings'), [{ values: { smtp_pass: null }, was: { smtp_pass: null } }]);
});

test('settings are searched, and a file that cannot be used is said to be so', async () => {
  await using visit = await Visit.start(onlooker, 'settings', {
    'GET /settings': { ...household()['GET /settings'], problems: ['homeserver.yaml:12: max_upload_size is no size'] },
  });
  const { view } = visit;
  await visit.shows('homeserver.yaml:12: max_upload_size is no size');
  await view.page.getByRole('searchbox', { name: 'Search settings' }).fill('upload');
  await view.field('Address for clients').waitFor({ state: 'detached' });
  await view.field('Largest upload').fill('7');
  await view.page.getByRole('searchbox', { name: 'Search settings' }).fill('teapot');
  await visit.shows('Nothing here matches “teapot”.');
});

test('a first backup asks for a passphrase twice, and says what was made', async () => {
  await using visit = await Visit.start(onlooker, 'backups', nothingYet);
  const { view } = visit;
  await visit.shows('If this machine broke now, everything would be lost.');
  await visit.shows('The disk was full.');
  await visit.shows('The disk is nearly full');
  await view.button('Make a backup').first().click();
  const passphrase = visit.dialog.getByLabel('Passphrase', { exact: true });
  await passphrase.fill('short');
  await visit.dialog.getByRole('button', { name: 'Make it' }).click();
  await visit.dialog.getByText('At least 8 characters; a few words are better.').waitFor();
  await passphrase.fill('the boat on the lake');
  await visit.dialog.getByLabel('Once more').fill('the boat on the late');
  await visit.dialog.getByText('This is not the same.').waitFor();
  await view.assertAccessible();
  await view.picture('backups-make');
  visit.assertNotSent('POST /backups');
  await visit.dialog.getByLabel('Once more').fill('the boat on the lake');
  await visit.dialog.getByRole('button', { name: 'Make it' }).click();
  await visit.dialog.waitFor({ state: 'hidden' });
  assert.deepEqual(visit.sent('POST /backups'), [{ media: true, passphrase: 'the boat on the lake' }]);
  const job = {
    id: 'job-1',
    kind: 'backup',
    title: 'Making a backup',
    startedAt: Date.now(),
    canCancel: true,
  } as const;
  visit.house.job({ ...job, state: 'running', progress: 0.3, step: 'Copying media' });
  await view.page.locator('.card').getByText('Copying media').waitFor();
  const result = {
    name: 'one.hearthbackup',
    path: '/srv/one',
    bytes: 5e6,
    files: 9,
    missingMedia: 2,
    damagedMedia: 0,
  };
  visit.house.job({ ...job, state: 'done', endedAt: Date.now(), result });
  await visit.shows('The backup is made, and has been read back');
  await visit.shows('2 files that people sent were missing from the disk');
});

test('a folder that nobody knows may be one whose disk is away; it is used only once somebody has said so', async () => {
  let answer = household()['GET /backups'];
  const problem = 'The disk of the folder /srv/backups is not connected: nothing in it is of this server.';
  await using visit = await Visit.start(onlooker, 'backups', {
    'GET /backups': () =>
      answer.isUnknownFolder === undefined ? { ...answer, problem, isUnknownFolder: true } : answer,
    'PUT /backups/schedule': () => {
      answer = { ...answer, isUnknownFolder: false };
      return answer;
    },
  });
  await visit.shows(problem);
  await visit.view.assertAccessible();
  await visit.view.button('Use this folder').click();
  await visit.dialog.getByText('backups would go to the disk of this computer instead').waitFor();
  visit.assertNotSent('PUT /backups/schedule');
  await visit.dialog.getByRole('button', { name: 'Use this folder' }).click();
  await visit.view.page.getByText(problem).waitFor({ state: 'detached' });
  const [body] = visit.sent('PUT /backups/schedule') as Record<string, unknown>[];
  assert.deepEqual([body?.['isChosenAnew'], body?.['every']], [true, answer.schedule.every]);
  assert.ok(!('hasPassphrase' in (body ?? {})) && !('nextAt' in (body ?? {})));
});

test('a wrong passphrase is said when a backup is read back', async () => {
  const answer = household()['GET /backups'];
  await using visit = await Visit.start(onlooker, 'backups', {
    'GET /backups': { ...answer, backups: answer.backups.slice(0, 1) },
  });
  await visit.choose(/^Actions for the backup of/, 'Read it back');
  await visit.dialog.getByLabel('Passphrase of the backup').fill('the ship');
  await visit.dialog.getByRole('button', { name: 'Read it back' }).click();
  await visit.dialog.waitFor({ state: 'hidden' });
  visit.house.job({
    id: 'job-1',
    kind: 'verify',
    title: 'Checking the backup',
    state: 'failed',
    startedAt: Date.now(),
    endedAt: Date.now(),
    canCancel: true,
    error: { errcode: 'M_FORBIDDEN', error: 'The passphrase is wrong.' },
  });
  await visit.view.page.getByRole('main').getByText('The passphrase is wrong.').waitFor();
});

test('a backup is deleted, and the list is right afterwards', async () => {
  const answer = household()['GET /backups'];
  let backups = answer.backups.slice(0, 1);
  await using visit = await Visit.start(onlooker, 'backups', {
    'GET /backups': () => ({ ...answer, backups }),
    'DELETE /backups/{name}': () => {
      backups = [];
      return {};
    },
  });
  await visit.choose(/^Actions for the backup of/, 'Delete');
  await visit.dialog.getByText('It is the only backup there is.').waitFor();
  await visit.dialog.getByRole('button', { name: 'Delete' }).click();
  await visit.said('The backup has been deleted.');
  await visit.shows('There is no backup yet');
});

test('a backup is restored once the name of the server has been typed', async () => {
  await using visit = await Visit.start(onlooker, 'backups', {});
  const { view } = visit;
  await view.button('Restore a backup…').click();
  await visit.dialog.getByLabel('Backup file').fill('/media/nora/backup/old.hearthbackup');
  await visit.dialog.getByLabel('Passphrase of the backup').fill('the boat');
  const start = visit.dialog.getByRole('button', { name: 'Replace and restore' });
  assert.equal(await start.isDisabled(), true);
  await visit.dialog.getByLabel('Type brook.example to confirm').fill('brook.example');
  await view.assertAccessible();
  await view.picture('backups-restore');
  await start.click();
  await visit.dialog.waitFor({ state: 'hidden' });
  assert.deepEqual(visit.sent('POST /restore'), [
    { path: '/media/nora/backup/old.hearthbackup', passphrase: 'the boat', replace: true },
  ]);
  visit.house.job({
    id: 'job-1',
    kind: 'restore',
    title: 'Restoring a backup',
    state: 'done',
    startedAt: Date.now(),
    endedAt: Date.now(),
    canCancel: false,
    result: {
      serverName: 'brook.example',
      madeAt: 1_780_000_000_000,
      kept: '/srv/kept',
      hasMedia: false,
      isRunning: true,
    },
  });
  await visit.shows(/^The backup of .* 2026.* is restored\.$/);
  await visit.shows('What was here before lies in /srv/kept.');
  await visit.shows('It was made without pictures and files.');
});

test('the schedule of backups is changed, and a folder that cannot be used is refused at its field', async () => {
  let isRefused = true;
  const answer = household()['GET /backups'];
  await using visit = await Visit.start(onlooker, 'backups', {
    'PUT /backups/schedule': () => {
      if (!isRefused) return answer;
      isRefused = false;
      return new FakeRefusal(400, 'That folder cannot be used', 'directory');
    },
  });
  const { view } = visit;
  await view.page.getByRole('radio', { name: 'every week' }).click();
  await visit.chooseFrom('At', '22:00');
  await visit.chooseFrom('Keep', 'the last 14');
  await view.field('Folder').fill('/proc/none');
  await view.field('Hint for the passphrase').fill('the boat');
  await view.button('Save').click();
  await visit.shows('That folder cannot be used.');
  assert.equal(await view.field('Folder').getAttribute('aria-invalid'), 'true');
  await view.field('Folder').fill('/media/usb');
  await view.button('Save').click();
  await visit.said('The schedule has been saved.');
  assert.deepEqual(visit.sent('PUT /backups/schedule').at(-1), {
    every: 'week',
    atHour: 22,
    keep: 14,
    media: true,
    directory: '/media/usb',
    passphraseHint: 'the boat',
  });
});

test('the recovery sheet is all that is printed of its page', async () => {
  await using visit = await Visit.start(onlooker, 'backups', {});
  const { view } = visit;
  await view.page.getByRole('link', { name: 'Show the sheet' }).click();
  await view.heading('Recovery sheet');
  await visit.shows('ed25519 a_Kx3f 3xAmpl3');
  const printed = await view.page.evaluate(() => {
    const calls: string[] = [];
    Object.assign(globalThis, { print: () => calls.push('print'), printed: calls });
    return calls.length;
  });
  assert.equal(printed, 0);
  await view.button('Print').click();
  assert.equal(await view.page.evaluate(() => (globalThis as unknown as { printed: string[] }).printed.length), 1);
  await view.page.emulateMedia({ media: 'print' });
  assert.equal(await view.page.getByRole('navigation', { name: 'Pages' }).first().isVisible(), false);
  assert.equal(await view.page.getByText('If the server is lost').isVisible(), true);
  await view.picture('backups-sheet-printed');
});

test('the log is read backwards, searched, and followed live', async () => {
  const asked: Record<string, string>[] = [];
  const line = (text: string, more: Partial<LogLine> = {}): LogLine => ({
    at: Date.now() - 1_000,
    level: 'info',
    text,
    data: {},
    ...more,
  });
  let newest = [line('request answered', { data: { ms: 12 } })];
  await using visit = await Visit.start(onlooker, 'logs', {
    'GET /logs': ({ query }) => {
      asked.push(Object.fromEntries(query));
      if (query.get('text') === 'rare')
        return query.has('before') ? { lines: [line('a rare thing')] } : { lines: [], before: '9-9' };
      return query.has('before') ? { lines: [line('the very first line')] } : { lines: newest, before: '1-1' };
    },
  });
  const { view } = visit;
  await view.page.getByText('request answered').click();
  await visit.shows('"ms": 12');
  await view.button('Show older lines').click();
  await visit.shows('the very first line');
  await visit.shows('This is where the log begins.');
  await visit.chooseFrom('What is shown', 'Only errors');
  await view.button('Show older lines').waitFor();
  await view.page.getByText('Live').click();
  newest = [line('something new', { level: 'error' }), ...newest];
  await visit.shows('something new');
  await view.page.getByText('Live').click();
  await view.page.getByRole('searchbox', { name: 'Search the log' }).fill('rare');
  await visit.shows('Nothing in this part of the log. There is more before it.');
  await view.button('Look further back').click();
  await visit.shows('a rare thing');
  assert.deepEqual(asked[0], { limit: '100', level: 'info' });
  assert.ok(asked.some(({ level }) => level === 'error'));
  assert.deepEqual(asked.at(-1), { limit: '100', level: 'error', text: 'rare', before: '9-9' });
});

test('in a browser, About says how this copy is renewed', async () => {
  await using visit = await Visit.start(onlooker, 'about', {});
  await visit.shows('Hearth 0.1.0, a home for your conversations.');
  await visit.shows('This copy is not renewed by itself');
  await visit.shows('/home/nora/.local/share/hearth/homeserver.yaml');
  assert.equal(await visit.view.button('Open the data folder').count(), 0);
});

test('in the desktop program, About renews it and keeps its settings', async () => {
  await using visit = await Visit.start(onlooker, 'status', {});
  const { view } = visit;
  // What the preload script of the program puts there.
  await view.page.addInitScript(() => {
    const listeners = new Set<(info: unknown) => void>();
    const seen: unknown[] = [];
    let info = {
      version: '0.1.0',
      platform: 'linux',
      settings: { startAtLogin: false, keepAwake: false, automaticUpdates: true, notifications: true },
      server: { kind: 'running', pid: 1 },
      update: { kind: 'idle', checkedAt: undefined } as object,
      tray: { icon: 'online', text: 'Online' },
      secrets: 'system',
    };
    const tell = (update: object): typeof info => {
      info = { ...info, update };
      for (const listener of listeners) listener(info);
      return info;
    };
    Object.assign(window, {
      seenByShell: seen,
      tellUpdate: tell,
      hearth: {
        getShell: () => Promise.resolve(info),
        changeSettings: (change: object) => {
          seen.push(change);
          info = { ...info, settings: { ...info.settings, ...change } };
          return Promise.resolve(info);
        },
        checkForUpdates: () => Promise.resolve(tell({ kind: 'downloading', version: '0.2.0', progress: 0.5 })),
        installUpdate: () => Promise.resolve(seen.push('install')),
        openFolder: (which: string) => Promise.resolve(seen.push(which)),
        onChange: (listener: (info: unknown) => void) => {
          listeners.add(listener);
          return () => listeners.delete(listener);
        },
      },
    });
  });
  await view.page.goto(`${visit.house.url}/#/about`);
  await view.page.reload();
  await visit.shows('No newer version is known.');
  await view.page.getByText('Start when you sign in to this machine').click();
  await view.page.getByRole('switch', { name: /^Start when you sign in/, checked: true }).waitFor();
  await view.button('Open the log folder').click();
  await view.button('Look for updates').click();
  await visit.shows('Fetching version 0.2.0');
  await view.page.evaluate(() => {
    (window as unknown as { tellUpdate: (update: object) => void }).tellUpdate({ kind: 'ready', version: '0.2.0' });
  });
  await view.assertAccessible();
  await view.picture('about-shell');
  await view.button('Restart with the new version').click();
  await visit.dialog.getByRole('button', { name: 'Restart with the new version' }).click();
  const seen = await view.page.evaluate(() => (window as unknown as { seenByShell: unknown[] }).seenByShell);
  assert.deepEqual(seen, [{ startAtLogin: true }, 'logs', 'install']);
});
