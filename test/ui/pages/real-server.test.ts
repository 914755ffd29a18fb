/** The pages against Hearth itself: what they show is what clients did, and what they do is so for clients. */
import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  homeserverOf,
  logIn,
  moveIn,
  PASSWORD,
  roomyDataDir,
  startRoomy,
  visitor,
  welcome,
} from '../../appliance/household-kit.ts';
import type { TestAppliance } from '../../appliance/appliance-kit.ts';
import { expectOk } from '../../kit/test-client.ts';
import { Onlooker, pages, type View } from '../browser.ts';

let onlooker: Onlooker;
before(async () => {
  onlooker = await Onlooker.start();
});
after(() => onlooker[Symbol.asyncDispose]());

async function comeIn(house: TestAppliance, place: string): Promise<View> {
  const { link } = await house.call('POST /links');
  const view = await onlooker.open(`${house.url}/#/link/${link}`);
  await view.heading('Status');
  await view.page.goto(`${house.url}/#/${place}`);
  await view.settled();
  return view;
}

async function toast(view: View, sentence: string | RegExp): Promise<void> {
  await view.page.locator('.toasts').getByText(sentence).waitFor();
}

test('every page shows what a real server tells', async () => {
  using data = roomyDataDir();
  await using house = await startRoomy(data, { pages });
  await moveIn(house, 'nora');
  await using view = await comeIn(house, 'people');
  for (const [place, sentence] of [
    ['people', '@nora:localhost'],
    ['people/strangers', 'Nobody is waiting'],
    ['rooms', 'No rooms yet'],
    ['media', 'No files here'],
    ['registration', 'Nobody by themselves'],
    ['calls', 'No TURN server is set'],
    ['settings', 'Largest file'],
    ['backups', 'There is no backup yet'],
    ['backups/recovery', 'If the server is lost'],
    ['about', data.path],
  ] as const) {
    await view.page.goto(`${house.url}/#/${place}`);
    await view.settled();
    await view.page.getByText(sentence).first().waitFor();
    assert.equal(await view.page.locator('.blank[role=alert]').count(), 0, `${place} can be read`);
    assert.equal(await view.page.getByText('Select an item').count(), 0, 'no words but those of the catalogue');
    await view.assertAccessible();
    await view.picture(`real-${place.replace('/', '-')}`);
  }
});

test('settings are written into the file of the server, which keeps what somebody wrote there', async () => {
  using data = roomyDataDir();
  appendFileSync(join(data.path, 'homeserver.yaml'), '\n# for grandmother\nenable_search: true # she asked for it\n');
  await using house = await startRoomy(data, { pages });
  await moveIn(house, 'nora');
  await using view = await comeIn(house, 'settings');
  await view.page.getByText('Search on the server', { exact: true }).click();
  await view.field('Largest file').fill('many');
  await view.page.getByText('1 value cannot be used').waitFor();
  await view.field('Largest file').fill('20');
  await view.button('Save').click();
  await toast(view, 'The settings have been saved.');
  const written = readFileSync(join(data.path, 'homeserver.yaml'), 'utf8');
  assert.match(written, /# for grandmother\nenable_search: false # she asked for it/);
  assert.match(written, /max_upload_size: 20M/);

  await view.page.goto(`${house.url}/#/calls`);
  await view.settled();
  await view.field('Addresses').fill('turn:relay.example:3478');
  await view.button('Save').click();
  await view.page.getByText('A TURN server needs either a shared secret').waitFor();
  await view.field('Shared secret').fill('a long secret');
  await view.button('Save').click();
  await toast(view, 'The settings for calls have been saved.');
  await view.button('Make credentials').click();
  await view.page.getByText(/^\d+:/).waitFor();

  await view.page.goto(`${house.url}/#/registration`);
  await view.settled();
  await view.page.getByText('Whoever has an invitation').click();
  await view.button('Save').click();
  await toast(view, 'Who may come has been changed.');
  if (await view.button('Restart now').isVisible()) {
    await view.button('Restart now').click();
    await view.page.getByRole('dialog').getByRole('button', { name: 'Restart' }).click();
    await toast(view, 'The server has been restarted.');
  }
  assert.equal((await house.call('GET /registration')).mode, 'invitation');
});

test('what somebody wrote into the file meanwhile is not overwritten unseen, and waits for a restart', async () => {
  using data = roomyDataDir();
  const file = join(data.path, 'homeserver.yaml');
  await using house = await startRoomy(data, { pages });
  await moveIn(house, 'nora');
  await using view = await comeIn(house, 'settings');
  await view.field('Largest file').fill('20');
  appendFileSync(file, '\nmax_upload_size: 7M # from the editor\n');
  const isRead = view.page.waitForResponse(
    (answer) => answer.url().endsWith('/settings') && answer.request().method() === 'GET',
  );
  await view.button('Save').click();
  await view.page.getByText(/This was changed meanwhile/).waitFor();
  assert.match(readFileSync(file, 'utf8'), /^max_upload_size: 7M # from the editor$/m);
  // As soon as it is looked at anew, saving is meant.
  await (await isRead).finished();
  await view.settled();
  await view.button('Save').click();
  await toast(view, 'The settings have been saved.');
  assert.match(readFileSync(file, 'utf8'), /^max_upload_size: 20M # from the editor$/m);

  await view.page.reload();
  await view.settled();
  await view.page.getByText('A restart is due').waitFor();
  await view.page.getByText('rarely needed').first().click();
  await view.assertAccessible();
  await view.button('Restart now').click();
  await view.page.getByRole('dialog').getByRole('button', { name: 'Restart' }).click();
  await toast(view, 'The server has been restarted.');
  await view.page.getByText('A restart is due').waitFor({ state: 'hidden' });
});

test('an invitation leads a phone to an account, also where a reverse proxy puts the server deeper', async () => {
  using data = roomyDataDir();
  await using house = await startRoomy(data, { pages });
  await moveIn(house, 'nora');
  const { token } = await house.call('POST /invitations', { body: {} });
  const server = new URL(homeserverOf(house).clientUrl);
  const proxy = createServer((req, res) => {
    const path = req.url?.startsWith('/deep/') === true ? req.url.slice('/deep'.length) : undefined;
    if (path === undefined) return void res.writeHead(404).end();
    const onward = request(
      { host: server.hostname, port: server.port, path, method: req.method, headers: req.headers },
      (answer) => answer.pipe(res.writeHead(answer.statusCode ?? 502, answer.headers)),
    );
    req.pipe(onward);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const { port } = proxy.address() as AddressInfo;
  try {
    await using phone = await onlooker.open(`http://127.0.0.1:${port}/deep/_hearth/join?token=${token}`, {
      size: 'phone',
      theme: 'dark',
    });
    await phone.page.getByLabel('Username').fill('Emil.B');
    await phone.page.getByLabel('Password', { exact: true }).fill(PASSWORD);
    await phone.page.getByLabel('Password, once more').fill(PASSWORD);
    await phone.assertAccessible();
    await phone.button('Make my account').click();
    await phone.heading('Welcome');
    await phone.page.getByText('@emil.b:localhost').first().waitFor();
    await phone.page.getByText(`http://127.0.0.1:${port}/deep`, { exact: true }).first().waitFor();
    await phone.page.getByRole('link', { name: 'FluffyChat' }).waitFor();
    assert.equal(await phone.page.getByRole('link', { name: 'Element X' }).isVisible(), false, 'it wants https');
    await phone.assertAccessible();
    await phone.picture('join-done');
  } finally {
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
  }
  await logIn(house, 'emil.b');
});

test('somebody is invited, comes, gets a new password, is signed out and leaves for good', async () => {
  using data = roomyDataDir();
  await using house = await startRoomy(data, { pages });
  await moveIn(house, 'nora');
  await using view = await comeIn(house, 'people/invitations');
  const dialog = view.page.getByRole('dialog');

  await view.button('New invitation').first().click();
  await dialog.getByLabel('For whom').fill('Emil');
  await dialog.getByRole('button', { name: 'Make invitation' }).click();
  const link = await dialog.locator('.copy-field code').first().textContent();
  await dialog.getByRole('button', { name: 'Close' }).click();
  const token = new URL(link ?? '').searchParams.get('token');
  assert.ok(token !== null);
  expectOk(await visitor(house).post('/_hearth/join', { token, username: 'emil', password: PASSWORD }));
  const emil = await logIn(house, 'emil');

  await view.page.getByRole('link', { name: 'People', exact: true }).first().click();
  await view.page.getByRole('link', { name: 'emil', exact: true }).click();
  await view.heading('emil');
  await view.button('Reset password').click();
  await dialog.getByRole('button', { name: 'Make one up' }).click();
  await dialog.getByRole('button', { name: 'Set password' }).click();
  await toast(view, 'emil has a new password.');
  const password = (await dialog.locator('.copy-field code').textContent()) ?? '';
  await dialog.getByRole('button', { name: 'Close' }).click();
  const again = await logIn(house, 'emil', password);

  // Nobody tells the page of it, which looks by itself only now and then.
  await view.page.reload();
  const { device_id: device } = expectOk(await again.get('/_matrix/client/v3/account/whoami'));
  await view.button(new RegExp(`^Sign out ${String(device)}$`)).click();
  await dialog.getByRole('button', { name: 'Sign out' }).click();
  await toast(view, /has been signed out/);
  assert.equal((await again.get('/_matrix/client/v3/account/whoami')).status, 401);
  expectOk(await emil.get('/_matrix/client/v3/account/whoami'));

  await view.button('Close account').click();
  await dialog.getByLabel(/^Type @emil/).fill('@emil:localhost');
  await dialog.getByRole('button', { name: 'Close account' }).click();
  await toast(view, 'The account of emil is closed.');
  assert.equal((await emil.get('/_matrix/client/v3/account/whoami')).status, 401);
  await view.page.getByRole('link', { name: 'All people' }).click();
  await view.page.getByRole('link', { name: 'nora', exact: true }).waitFor();
  assert.equal(await view.page.getByRole('link', { name: 'emil', exact: true }).count(), 0);
  await view.page.getByText('Also closed accounts').click();
  await view.page.getByRole('link', { name: 'emil', exact: true }).waitFor();
  await view.assertAccessible();
});

test('a room is found, looked at and removed for good', async () => {
  using data = roomyDataDir();
  await using house = await startRoomy(data, { pages });
  const nora = await moveIn(house, 'nora');
  const emil = await welcome(house, 'emil');
  const make = async (name: string): Promise<string> => {
    const body = { name, preset: 'public_chat', topic: 'What grows' };
    return String(expectOk(await nora.post('/_matrix/client/v3/createRoom', body)).room_id);
  };
  const [garden] = [await make('Garden'), await make('Kitchen')];
  expectOk(await emil.post(`/_matrix/client/v3/join/${encodeURIComponent(garden)}`, {}));

  await using view = await comeIn(house, 'rooms');
  const dialog = view.page.getByRole('dialog');
  await view.page.getByRole('searchbox', { name: 'Search rooms' }).fill('gard');
  await view.page.getByRole('row').filter({ hasText: 'Kitchen' }).waitFor({ state: 'detached' });
  await view.page.getByRole('row').filter({ hasText: 'Garden' }).getByText('2 of 2 here').waitFor();
  await view.page.getByRole('link', { name: 'Garden' }).click();
  await view.heading('Garden');
  await view.page.getByText('What grows').waitFor();
  await view.page.getByRole('row').filter({ hasText: '@emil:localhost' }).waitFor();
  await view.assertAccessible();

  await view.button('Block').click();
  await dialog.getByRole('button', { name: 'Block' }).click();
  await toast(view, 'The room is blocked.');
  const ida = await welcome(house, 'ida');
  assert.equal((await ida.post(`/_matrix/client/v3/join/${encodeURIComponent(garden)}`, {})).status, 403);

  await view.button('Remove for good').click();
  await dialog.getByLabel('Type Garden to confirm').fill('Garden');
  await dialog.getByRole('button', { name: 'Remove for good' }).click();
  await view.heading('Rooms');
  await toast(view, /^The room is gone: /);
  await view.page.getByRole('link', { name: 'Kitchen' }).waitFor();
  assert.equal(await view.page.getByRole('link', { name: 'Garden' }).count(), 0);
  const { joined_rooms: rooms } = expectOk(await emil.get('/_matrix/client/v3/joined_rooms'));
  assert.deepEqual(rooms, []);
});

test('a backup is made, read back with the right passphrase only, and restored', async () => {
  using data = roomyDataDir();
  await using house = await startRoomy(data, { pages });
  await moveIn(house, 'nora');
  await using view = await comeIn(house, 'backups');
  const dialog = view.page.getByRole('dialog');
  const main = view.page.getByRole('main');
  const readBack = async (passphrase: string): Promise<void> => {
    await view.button(/^Actions for the backup/).click();
    await view.page.getByRole('menuitem', { name: 'Read it back' }).click();
    await dialog.getByLabel('Passphrase of the backup').fill(passphrase);
    await dialog.getByRole('button', { name: 'Read it back' }).click();
  };

  await view.button('Make a backup').first().click();
  await dialog.getByLabel('Passphrase', { exact: true }).fill('the boat on the lake');
  await dialog.getByLabel('Once more').fill('the boat on the lake');
  await dialog.getByRole('button', { name: 'Make it' }).click();
  await main.getByText('The backup is made, and has been read back').waitFor();
  const [name = 'none'] = readdirSync(join(data.path, 'backups')).filter((file) => file.endsWith('.hearthbackup'));
  await view.page.getByRole('row').filter({ hasText: name }).getByText('read back').waitFor();
  await readBack('the boat in the lake');
  await main.getByText(/The passphrase is wrong/).waitFor();
  await readBack('the boat on the lake');
  await main.getByText('The backup is whole.').waitFor();

  // Somebody who comes after the backup is not in it.
  await welcome(house, 'emil');
  await view.button(/^Actions for the backup/).click();
  await view.page.getByRole('menuitem', { name: 'Restore' }).click();
  await dialog.getByLabel('Passphrase of the backup').fill('the boat on the lake');
  await dialog.getByLabel('Type localhost to confirm').fill('localhost');
  await dialog.getByRole('button', { name: 'Replace and restore' }).click();
  await main.getByText(/^The backup of .* is restored\.$/).waitFor();
  await logIn(house, 'nora');
  const { people } = await house.call('GET /people', { query: {} });
  assert.deepEqual(
    people.map(({ userId }) => userId),
    ['@nora:localhost'],
  );

  await view.page.getByRole('link', { name: 'Show the sheet' }).click();
  await main.getByText(/^ed25519 a_\w+ /).waitFor();
  await view.assertAccessible();
});
