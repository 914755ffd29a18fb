/** The interface in front of Hearth itself: the stories in which something is in the way, and every page with something on it. */
import assert from 'node:assert/strict';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { DnsError } from '../../server/federation/discovery/dns.ts';
import { TestAppliance } from '../appliance/appliance-kit.ts';
import {
  homeserverOf,
  moveIn,
  PASSWORD,
  roomyDataDir,
  startRoomy,
  visitor,
  welcome,
} from '../appliance/household-kit.ts';
import { expectOk } from '../kit/test-client.ts';
import { type Look, Onlooker, pages, type View } from './browser.ts';

let onlooker: Onlooker;
before(async () => {
  onlooker = await Onlooker.start();
});
after(() => onlooker[Symbol.asyncDispose]());

async function comeIn(house: TestAppliance, look: Look = {}): Promise<View> {
  const view = await onlooker.open(`${house.url}/#/link/${house.appliance.createLink()}`, look);
  await view.heading('Status');
  return view;
}

async function signIn(view: View): Promise<void> {
  await view.heading('Open Hearth');
  await view.field('Username').fill('nora');
  await view.field('Password').fill(PASSWORD);
  await view.page.keyboard.press('Enter');
}

const EVERYWHERE = [
  ['status', 'messages today'],
  ['people', '@emil:localhost'],
  ['people/%40emil%3Alocalhost', 'What you can do'],
  ['people/invitations', 'For grandmother'],
  ['people/strangers', 'Nobody is waiting'],
  ['rooms', 'Garden'],
  ['rooms/{room}', 'What grows'],
  ['media', 'rose.txt'],
  ['registration', 'For grandmother'],
  ['reach', 'Check the way'],
  ['calls', 'relay.example'],
  ['settings', 'Largest file'],
  ['backups', 'read back'],
  ['backups/recovery', 'the colour of the boat'],
  ['logs', 'Nothing in the log'],
  ['about', 'homeserver.yaml'],
] as const;

test('every page of a household can be used by everybody, light and dark, and asks nobody else for anything', async () => {
  using data = roomyDataDir();
  await using house = await startRoomy(data, { pages });
  const nora = await moveIn(house, 'nora');
  const emil = await welcome(house, 'emil');
  const body = { name: 'Garden', topic: 'What grows', invite: [emil.userId] };
  const { room_id: room } = expectOk(await nora.post('/_matrix/client/v3/createRoom', body));
  const sent = await fetch(`${homeserverOf(house).clientUrl}/_matrix/media/v3/upload?filename=rose.txt`, {
    method: 'POST',
    headers: { authorization: `Bearer ${nora.token}`, 'content-type': 'text/plain' },
    body: 'red',
  });
  assert.equal(sent.status, 200);
  await house.call('POST /invitations', { body: { note: 'For grandmother', uses: 1 } });
  const calls = { uris: ['turn:relay.example:3478'], sharedSecret: 'a long secret', lifetimeSeconds: 3600 };
  await house.call('PUT /calls', { body: { ...calls, allowGuests: false } });
  const schedule = {
    every: 'never',
    atHour: 3,
    keep: 7,
    media: true,
    passphraseHint: 'the colour of the boat',
  } as const;
  await house.call('PUT /backups/schedule', { body: schedule });
  const { jobId } = await house.call('POST /backups', { body: { passphrase: 'the boat on the lake', media: true } });
  assert.equal((await house.finished(jobId)).state, 'done');

  for (const look of [
    { theme: 'light', size: 'desktop' },
    { theme: 'dark', size: 'phone' },
  ] as const) {
    await using view = await comeIn(house, look);
    const foreign: string[] = [];
    view.page.on('request', (request) => {
      if (!request.url().startsWith(house.url) && !request.url().startsWith('data:')) foreign.push(request.url());
    });
    for (const [place, sentence] of EVERYWHERE) {
      const address = place.replace('{room}', encodeURIComponent(String(room)));
      await view.page.goto(`${house.url}/#/${address}`);
      await view.settled();
      await view.page.getByRole('main').getByText(sentence).first().waitFor();
      assert.equal(await view.page.locator('.blank[role=alert]').count(), 0, `${place} can be read`);
      await view.assertAccessible();
      await view.picture(`lived-in-${place.replaceAll(/[^a-z]+/g, '-')}-${look.theme}-${look.size}`);
    }
    assert.deepEqual(foreign, []);
  }
  const policy = (await house.request('GET', '/')).headers['content-security-policy'];
  assert.match(String(policy), /default-src 'none'/);
  assert.doesNotMatch(String(policy), /unsafe|https?:/);
});

test('what was typed outlasts a stop and a new start of Hearth, and what cannot be saved meanwhile is said', async () => {
  using data = roomyDataDir();
  let house = await startRoomy(data, { pages });
  try {
    await moveIn(house, 'nora');
    await using view = await comeIn(house);
    await view.page.goto(`${house.url}/#/settings`);
    await view.settled();
    await view.field('Largest file').fill('23');
    await view.page.mouse.wheel(0, 2_000);
    const { port } = new URL(house.url);
    await house[Symbol.asyncDispose]();
    await view.page.getByText('Hearth does not answer; trying again…').waitFor();
    await view.button('Save').click();
    await view.page.getByText('Hearth does not answer. Try again when it does.').waitFor();
    assert.equal(await view.field('Largest file').inputValue(), '23');
    for (const words of ['Hearth does not answer; trying again…', 'Hearth does not answer. Try again when it does.']) {
      const box = await view.page.getByText(words).boundingBox();
      assert.ok(box !== null && box.y >= 0 && box.y < 860, `in sight, however far somebody has scrolled: ${words}`);
    }
    await view.assertAccessible();

    house = await startRoomy(data, { pages, controlPort: Number(port) });
    // Sessions end with the program; the page asks for a new one by itself.
    await view.page.getByText('Your session is over').waitFor();
    await signIn(view);
    await view.heading('Settings');
    await view.page.getByText('Hearth does not answer; trying again…').waitFor({ state: 'hidden' });
    assert.equal(await view.field('Largest file').inputValue(), '23');
    await view.button('Save').click();
    await view.page.locator('.toasts').getByText('The settings have been saved.').waitFor();
    assert.match(readFileSync(join(data.path, 'homeserver.yaml'), 'utf8'), /max_upload_size: 23M/);
  } finally {
    await house[Symbol.asyncDispose]();
  }
});

test('an address within leads there after signing in, in a second tab, after a reload and by the button back', async () => {
  using data = roomyDataDir();
  await using house = await startRoomy(data, { pages });
  await moveIn(house, 'nora');
  await using view = await onlooker.open(`${house.url}/#/people/invitations`);
  await signIn(view);
  await view.heading('Invitations');
  await view.page.reload();
  await view.heading('Invitations');
  await view.page.getByRole('link', { name: 'Rooms', exact: true }).click();
  await view.heading('Rooms');
  await view.page.goBack();
  await view.heading('Invitations');

  // What is made in one tab is seen in the other without being asked for.
  await using other = await comeIn(house);
  await other.page.goto(`${house.url}/#/people/invitations`);
  await other.page.getByText('No invitations').first().waitFor();
  await view.button('New invitation').first().click();
  const dialog = view.page.getByRole('dialog');
  await dialog.getByLabel('For whom').fill('Emil');
  await dialog.getByRole('button', { name: 'Make invitation' }).dblclick();
  await dialog.locator('.copy-field code').first().waitFor();
  await other.page.getByRole('row').filter({ hasText: 'Emil' }).waitFor();
  assert.equal((await house.call('GET /invitations')).invitations.length, 1, 'pressed twice, made once');
});

test('somebody without a mouse invites a person, and comes back to where they were', async () => {
  using data = roomyDataDir();
  await using house = await startRoomy(data, { pages });
  await moveIn(house, 'nora');
  await using view = await comeIn(house);
  const { keyboard } = view.page;
  await view.tabTo('People', 'link');
  await keyboard.press('Enter');
  await view.heading('People');
  await view.tabTo('Invitations', 'link');
  await keyboard.press('Enter');
  await view.heading('Invitations');
  await view.tabTo('New invitation');
  await keyboard.press('Enter');
  await view.tabTo('For whom', 'textbox');
  await keyboard.type('Grandmother');
  await keyboard.press('Enter');
  const dialog = view.page.getByRole('dialog');
  await dialog.locator('.copy-field code').first().waitFor();
  for (let presses = 0; presses < 12; presses += 1) {
    await keyboard.press('Tab');
    assert.equal(await dialog.locator(':focus').count(), 1, 'the keyboard stays in the dialog');
  }
  await view.assertAccessible();
  await keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
  await view.button('New invitation').first().and(view.page.locator(':focus')).waitFor();
  await view.page.getByRole('row').filter({ hasText: 'Grandmother' }).waitFor();
});

test('without a network a server is set up all the same, and what could not be looked up is said', async () => {
  const fail = (): Promise<never> => Promise.reject(new DnsError('there is no network', false));
  const network = { dns: { addresses: fail, services: fail } };
  await using house = await TestAppliance.start({ pages, network });
  await using view = await onlooker.open(`${house.url}/#/link/${house.appliance.createLink()}`);
  await view.heading('Welcome home');
  await view.page.getByText('Behind a reverse proxy or tunnel').click();
  await view.button('Continue').click();
  await view.field('Server name').fill('brook.family');
  await view.page.getByRole('list', { name: 'What was found about the name' }).waitFor();
  await view.page.getByText('It could not be found out where this name leads.').waitFor();
  await view.page.getByText('It could not be found out whether another server has this name.').waitFor();
  await view.assertAccessible();
  await view.picture('real-setup-no-network');
  await view.button('Continue').click();
  await view.heading('The first account is yours');
  await view.field('Username').fill('nora');
  await view.field('Password').fill(PASSWORD);
  await view.button('Create my server').click();
  await view.heading('Your server is ready');
  assert.equal((await house.call('GET /status')).serverName, 'brook.family');
});

test('a name that somebody has already cannot be taken for the first account', async () => {
  using data = roomyDataDir({
    config: { enable_registration: true, enable_registration_without_verification: true },
  });
  await using house = await startRoomy(data, { pages });
  const account = { username: 'emil', password: PASSWORD, auth: { type: 'm.login.dummy' } };
  expectOk(await visitor(house).post('/_matrix/client/v3/register', account));
  await using view = await onlooker.open(`${house.url}/#/link/${house.appliance.createLink()}`);
  await view.heading('Welcome home');
  await view.button('Continue').click();
  await view.page.getByText('There are accounts already, so the name cannot be changed any more.').waitFor();
  await view.button('Continue').click();
  await view.field('Username').fill('emil');
  await view.field('Password').fill(PASSWORD);
  await view.page.locator('[aria-invalid=true]').waitFor();
  await view.page
    .getByText(/taken|in use|has this name/i)
    .first()
    .waitFor();
  assert.equal(await view.button('Create my server').isDisabled(), true);
  await view.assertAccessible();
  await view.picture('real-setup-name-taken');
  await view.field('Username').fill('nora');
  await view.button('Create my server').click();
  await view.heading('Your server is ready');
});

test('a fresh machine takes a backup once passphrase and file are right, and says what is wrong before', async () => {
  using old = roomyDataDir({ serverName: 'cottage.local' });
  let path = '';
  {
    await using house = await startRoomy(old);
    await moveIn(house, 'nora');
    const { jobId } = await house.call('POST /backups', { body: { passphrase: 'the boat on the lake', media: true } });
    path = ((await house.finished(jobId)).result as { path: string }).path;
  }
  const cut = `${path}.cut.hearthbackup`;
  writeFileSync(cut, readFileSync(path));
  truncateSync(cut, 5_000);
  await using house = await TestAppliance.start({ pages });
  await using view = await onlooker.open(`${house.url}/#/link/${house.appliance.createLink()}`);
  await view.heading('Welcome home');
  await view.page.getByRole('link', { name: 'Restore a backup instead' }).click();
  await view.heading('Restore a backup');
  const alert = view.page.getByRole('main').getByRole('alert');
  const attempt = async (file: string, passphrase: string): Promise<void> => {
    await view.field('Backup file').fill(file);
    await view.field('Passphrase of the backup').fill(passphrase);
    await view.button('Restore').click();
  };
  await attempt(path, 'the boat in the lake');
  await alert.getByText(/passphrase is wrong/).waitFor();
  await view.assertAccessible();
  await view.picture('real-restore-wrong');
  await attempt(cut, 'the boat on the lake');
  await alert.getByText(/passphrase is wrong/).waitFor({ state: 'hidden' });
  await alert.getByText(/damaged|cut off|incomplete|ends/i).waitFor();
  await attempt(path, 'the boat on the lake');
  await view.page.getByText(/cottage\.local is here as it was on/).waitFor();
  await view.page.getByRole('link', { name: 'Go to Status' }).click();
  await view.heading('Status');
  await view.page.locator('.brand-server').getByText('cottage.local').waitFor();
});

test('an answer that takes its time is waited for in sight, and one that fails can be asked for again', async () => {
  using data = roomyDataDir();
  await using house = await startRoomy(data, { pages });
  await moveIn(house, 'nora');
  await using view = await comeIn(house);
  const { promise, resolve } = Promise.withResolvers<void>();
  await view.page.route('**/control/people?*', async (route) => {
    await promise;
    await route.abort();
  });
  await view.page.route('**/control/people', async (route) => {
    await promise;
    await route.abort();
  });
  await view.page.goto(`${house.url}/#/people`);
  await view.page.getByRole('status').getByText('Loading…').waitFor();
  await view.assertAccessible();
  resolve();
  await view.page.getByRole('alert').getByText('That did not work').waitFor();
  await view.page.unrouteAll({ behavior: 'ignoreErrors' });
  await view.button('Try again').click();
  await view.page.getByText('@nora:localhost').first().waitFor();
});
