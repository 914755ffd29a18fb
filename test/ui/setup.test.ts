import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Setup } from '../../server/appliance/contract.ts';
import { TestAppliance } from '../appliance/appliance-kit.ts';
import { Onlooker, pages, type View } from './browser.ts';
import { FakeHouse, FakeRefusal } from './fake-house.ts';
import { household } from './household.ts';

let onlooker: Onlooker;
before(async () => {
  onlooker = await Onlooker.start();
});
after(() => onlooker[Symbol.asyncDispose]());

async function logIn(clientUrl: string, user: string, password: string): Promise<{ user_id: string }> {
  const response = await fetch(`${clientUrl}/_matrix/client/v3/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'm.login.password', identifier: { type: 'm.id.user', user }, password }),
  });
  assert.equal(response.status, 200);
  return (await response.json()) as { user_id: string };
}

test('somebody without a mouse goes from the link to a server of their own', async () => {
  await using house = await TestAppliance.start({ pages });
  await using view = await onlooker.open(`${house.url}/#/link/${house.appliance.createLink()}`);
  const { keyboard } = view.page;

  await view.heading('Welcome home');
  await view.tabTo(/This home network only/, 'radio');
  await keyboard.press('ArrowDown');
  await keyboard.press('ArrowUp');
  await view.tabTo('Continue');
  await keyboard.press('Enter');

  await view.heading('What is your server called?');
  await view.tabTo('Server name', 'textbox');
  await keyboard.press('Control+A');
  await keyboard.type('not a name');
  await view.page.getByRole('img', { name: 'Not well:' }).first().waitFor();
  assert.equal(await view.button('Continue').isDisabled(), true, 'a name that is none does not lead on');
  await view.picture('setup-name-refused');
  await view.assertAccessible();
  await keyboard.press('Control+A');
  await keyboard.type('cottage.local');
  await view.page.getByText('@you:cottage.local').waitFor();
  await view.page.locator('form button[type=submit]:not([data-disabled])').waitFor();
  await keyboard.press('Enter');

  await view.heading('The first account is yours');
  await view.tabTo('Username', 'textbox');
  await keyboard.type('nora');
  await view.tabTo('Display name', 'textbox');
  await keyboard.type('Nora');
  await view.tabTo('Password', 'textbox');
  await keyboard.type('a quiet evening');
  await keyboard.press('Enter');

  await view.heading('Your server is ready');
  await view.page.getByText('@nora:cottage.local', { exact: true }).waitFor();
  for (const app of ['Element X', 'Element Web', 'Nheko', 'FluffyChat'])
    await view.page.getByRole('tab', { name: app }).waitFor();
  await view.picture('setup-done-real');
  await view.assertAccessible();
  const clientUrl = await view.page.getByRole('group', { name: 'Address for apps' }).locator('code').innerText();
  assert.equal((await logIn(clientUrl, 'nora', 'a quiet evening')).user_id, '@nora:cottage.local');

  await view.page.reload();
  await view.heading('Your server is ready');
  await view.tabTo('Go to Status');
  await keyboard.press('Enter');
  await view.heading('Status');
  await view.page.locator('.truth-line').waitFor();
  await view.picture('status-real');
  await view.assertAccessible();
  await view.page.goto(`${house.url}/#/setup/name`);
  await view.heading('Status');
  for (const page of ['status', 'people']) {
    await view.page.goto(`${house.url}/#/${page}`);
    await view.button('Connect a device').click();
    const dialog = view.page.getByRole('dialog', { name: 'Connect a device' });
    await dialog.getByText(clientUrl, { exact: true }).first().waitFor();
    await dialog.getByRole('tab', { name: 'Nheko' }).click();
    await dialog.getByText('Install Nheko and open it.').waitFor();
    await view.picture(`connect-real-${page}`);
    await view.assertAccessible();
    await view.page.keyboard.press('Escape');
  }
});

const fresh: Setup = {
  ...household()['PUT /setup'],
  draft: { reach: 'home', serverName: 'hearth.local' },
};

async function answerWhere(view: View, reach: string): Promise<void> {
  await view.heading('Welcome home');
  await view.page.getByText(reach).click();
  await view.button('Continue').click();
  await view.heading('What is your server called?');
}

for (const look of [
  { theme: 'light', size: 'desktop' },
  { theme: 'dark', size: 'phone' },
] as const) {
  test(`each step of setting up can be used by everybody, ${look.theme} on a ${look.size} screen`, async () => {
    await using house = await FakeHouse.start({ 'GET /setup': fresh });
    await using view = await onlooker.open(house.link(), look);
    const look_ = async (name: string): Promise<void> => {
      await view.picture(`setup-${name}-${look.theme}-${look.size}`);
      await view.assertAccessible();
    };
    await view.heading('Welcome home');
    await look_('1-where');
    await answerWhere(view, 'From everywhere, with my own domain');
    await view.field('Server name').fill('https://Brook.example/');
    await view.page.getByText('brook.example has no address yet.').waitFor();
    await view.page.getByText('Certificate files').click();
    await look_('2-name');
    await view.button('Continue').click();
    await view.heading('The first account is yours');
    await view.field('Username').fill('nora');
    await view.field('Password').fill('nora1');
    await look_('3-account');
    await view.button('Create my server').click();
    await view.heading('Your server is ready');
    await look_('4-done');
  });
}

test('an address that was pasted becomes the name that was meant, and what was answered is kept', async () => {
  await using house = await FakeHouse.start({ 'GET /setup': fresh });
  await using view = await onlooker.open(house.link());
  await answerWhere(view, 'Behind a reverse proxy or tunnel');
  assert.equal(await view.field('Server name').inputValue(), '', 'a name for home is not proposed to the world');
  await view.field('Server name').fill('https://Brook.example/');
  await view.field('Address for clients').fill('matrix.brook.example');
  await view.page.getByText('An address begins with https://').waitFor();
  assert.equal(await view.button('Continue').isDisabled(), true);
  await view.field('Address for clients').fill('https://matrix.brook.example/');
  await view.page.getByText('brook.example has no address yet.').waitFor();
  await view.button('Continue').click();
  await view.heading('The first account is yours');
  const saved = house.seen.filter(({ call }) => call === 'PUT /setup').at(-1)?.body;
  assert.deepEqual(saved, { reach: 'proxy', serverName: 'brook.example', publicUrl: 'https://matrix.brook.example' });

  house.answers['GET /setup'] = {
    ...fresh,
    draft: { reach: 'proxy', serverName: 'brook.example', publicUrl: 'https://matrix.brook.example' },
  };
  await view.page.reload();
  await view.heading('The first account is yours');
  await view.page.getByText('@you:brook.example').waitFor();
  await view.button('Back').click();
  await view.heading('What is your server called?');
  assert.equal(await view.field('Address for clients').inputValue(), 'https://matrix.brook.example');
});

test('without a network a name can be chosen all the same, and what could not be checked is said', async () => {
  await using house = await FakeHouse.start({
    'GET /setup': { ...fresh, draft: { reach: 'domain', serverName: '' } },
    'POST /setup/check-name': new FakeRefusal(503, 'The homeserver is starting; try again in a moment'),
  });
  await using view = await onlooker.open(house.link());
  await answerWhere(view, 'From everywhere, with my own domain');
  assert.equal(await view.button('Continue').isDisabled(), true, 'there is no name yet');
  await view.field('Server name').fill('brook.example');
  await view.page.getByText('The homeserver is starting; try again in a moment.').waitFor();
  const unknown = {
    id: 'dns',
    title: 'DNS',
    verdict: 'skipped',
    text: 'There is no network, so the name could not be looked up.',
  } as const;
  house.answers['POST /setup/check-name'] = { verdict: 'warning', findings: [unknown] };
  await view.field('Server name').fill('brook2.example');
  await view.page.getByText(unknown.text).waitFor();
  await view.page.getByRole('img', { name: 'Not checked:' }).waitFor();
  await view.picture('setup-no-network');
  await view.assertAccessible();
  await view.button('Continue').click();
  await view.heading('The first account is yours');
});

test('what the server has against an account stands at its field; another fault leads back to where it can be mended', async () => {
  await using house = await FakeHouse.start({
    'GET /setup': { ...fresh, draft: { reach: 'domain', serverName: 'brook.example' } },
    'POST /setup/check-account': ({ body }) =>
      (body as { username: string }).username === 'root'
        ? { problems: [{ field: 'username', message: 'That name is taken.' }] }
        : { problems: [] },
    'POST /setup/finish': new FakeRefusal(400, 'The certificate cannot be read', 'certificatePath'),
  });
  await using view = await onlooker.open(house.link());
  await view.heading('Welcome home');
  await view.page.goto(`${house.url}/#/setup/account`);
  await view.heading('The first account is yours');
  await view.field('Username').fill('root');
  await view.field('Password').fill('a quiet evening');
  await view.page.getByText('That name is taken.').waitFor();
  assert.equal(await view.field('Username').getAttribute('aria-invalid'), 'true');
  assert.equal(await view.button('Create my server').isDisabled(), true);
  await view.picture('setup-name-taken');
  await view.assertAccessible();
  await view.field('Username').fill('nora');
  await view.page.getByText('That name is taken.').waitFor({ state: 'hidden' });
  await view.button('Create my server').click();
  await view.page.getByText('The certificate cannot be read.').waitFor();
  await view.button('Back to the name').click();
  await view.heading('What is your server called?');
});

test('a backup is restored instead; a wrong passphrase is said, and can be tried again', async () => {
  await using house = await FakeHouse.start({ 'GET /setup': fresh, 'POST /restore': { jobId: 'r1' } });
  await using view = await onlooker.open(house.link());
  await view.heading('Welcome home');
  await view.page.getByRole('link', { name: 'Restore a backup instead' }).click();
  await view.heading('Restore a backup');
  await view.field('Backup file').fill('/media/stick/brook.hearthbackup');
  await view.field('Passphrase of the backup').fill('the ship');
  await view.button('Restore').click();
  assert.deepEqual(house.seen.find(({ call }) => call === 'POST /restore')?.body, {
    path: '/media/stick/brook.hearthbackup',
    passphrase: 'the ship',
    replace: false,
  });
  const job = {
    id: 'r1',
    kind: 'restore',
    title: 'Restoring a backup',
    startedAt: Date.now(),
    canCancel: false,
  } as const;
  house.job({ ...job, state: 'running', progress: 0.5, step: 'Reading media' });
  await view.page.getByText('Reading media').waitFor();
  await view.picture('setup-restoring');
  await view.assertAccessible();
  house.job({
    ...job,
    state: 'failed',
    endedAt: Date.now(),
    error: { errcode: 'M_FORBIDDEN', error: 'That is not the passphrase of this backup.' },
  });
  await view.page.getByRole('alert').getByText('That is not the passphrase of this backup.').waitFor();
  await view.picture('setup-restore-wrong');
  await view.assertAccessible();
  house.answers['POST /restore'] = { jobId: 'r2' };
  await view.field('Passphrase of the backup').fill('the boat');
  await view.button('Restore').click();
  house.answers['GET /setup'] = household()['GET /setup'];
  house.job({
    ...job,
    id: 'r2',
    state: 'done',
    endedAt: Date.now(),
    result: { serverName: 'brook.example', madeAt: Date.UTC(2026, 4, 1, 12), hasMedia: true, isRunning: true },
  });
  await view.page.getByText('brook.example is here as it was on 1 May 2026.').waitFor();
  await view.page.getByRole('link', { name: 'Go to Status' }).click();
  await view.heading('Status');
});

test('whoever goes back finds what was answered, and another window sees that the server is there', async () => {
  await using house = await TestAppliance.start({ pages });
  const link = (): string => `${house.url}/#/link/${house.appliance.createLink()}`;
  await using view = await onlooker.open(link());
  await answerWhere(view, 'From everywhere, with my own domain');
  await view.field('Server name').fill('brook.example.com');
  await view.field('Address for clients (if it is another one)').fill('https://chat.brook.example.com');
  await view.button('Back').click();
  await answerWhere(view, 'Behind a reverse proxy or tunnel');
  assert.equal(await view.field('Server name').inputValue(), 'brook.example.com');
  assert.equal(await view.field('Address for clients').inputValue(), 'https://chat.brook.example.com');
  await view.button('Back').click();
  await answerWhere(view, 'This home network only');
  await view.field('Server name').fill('hearth.home.arpa');
  await view.button('Continue').click();
  await view.heading('The first account is yours');
  const { draft } = await house.call('GET /setup');
  assert.deepEqual(draft, { reach: 'home', serverName: 'hearth.home.arpa' }, 'at home there is no other address');
  await view.field('Username').fill('nora');
  await view.field('Password').fill('a quiet evening');
  await view.button('Back').click();
  await view.heading('What is your server called?');
  await view.button('Continue').click();
  await view.heading('The first account is yours');
  assert.equal(await view.field('Username').inputValue(), 'nora');

  await using other = await onlooker.open(link());
  await answerWhere(other, 'This home network only');
  await view.button('Create my server').dblclick();
  await view.heading('Your server is ready');
  await other.heading('Your server is ready');
  await other.page.getByText('@nora:hearth.home.arpa', { exact: true }).waitFor();
});
