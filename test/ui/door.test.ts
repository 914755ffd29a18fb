import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Onlooker } from './browser.ts';
import { FakeHouse, FakeRefusal } from './fake-house.ts';
import { household } from './household.ts';

let onlooker: Onlooker;
before(async () => {
  onlooker = await Onlooker.start();
});
after(() => onlooker[Symbol.asyncDispose]());

test('a link opens the interface and its secret does not stay in the address', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link());
  await view.heading('Status');
  assert.equal(view.page.url().includes('secret'), false);
  await view.page.reload();
  await view.heading('Status');
  assert.equal(house.seen.filter(({ call }) => call === 'POST /session').length, 1, 'a reload needs no new session');
});

test('a link that was used says so and leads to signing in', async () => {
  const house = await FakeHouse.start({ 'POST /session': new FakeRefusal(403, 'This link has been used') });
  await using _house = house;
  await using view = await onlooker.open(house.link());
  await view.heading('This link does not open Hearth');
  await view.page.getByText('This link has been used.').waitFor();
  await view.picture('link-used');
  await view.assertAccessible();
  await view.page.getByRole('link', { name: 'Sign in instead' }).click();
  await view.heading('Open Hearth');
  await view.field('Username').fill('nora');
  await view.field('Password').fill('a loud evening');
  house.answers['POST /session'] = new FakeRefusal(
    403,
    'That is not the name and password of somebody who runs this server.',
  );
  await view.page.keyboard.press('Enter');
  await view.page.getByRole('alert').getByText('That is not the name and password').waitFor();
  await view.picture('sign-in-wrong');
  await view.assertAccessible();
  house.answers['POST /session'] = { token: 'a-token' };
  await view.field('Password').fill('a quiet evening');
  await view.button('Show what is typed').click();
  assert.equal(await view.field('Password').getAttribute('type'), 'text');
  await view.button('Sign in').click();
  await view.heading('Status');
  assert.deepEqual(house.seen.filter(({ call }) => call === 'POST /session').at(-1)?.body, {
    username: 'nora',
    password: 'a quiet evening',
  });
});

test('when the program goes away that is said, and the page goes on by itself when it is back', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link());
  await view.heading('Status');
  const port = await house.close();
  await view.page.getByText('Hearth does not answer; trying again…').waitFor();
  await view.heading('Status');
  await view.picture('lost');
  await view.assertAccessible();
  house.answers['GET /status'] = { ...household()['GET /status'], line: 'catching-up' };
  await house.open(port);
  await view.page.getByText('Hearth does not answer; trying again…').waitFor({ state: 'hidden' });
  await view.page.locator('.truth-line').getByText('Catching up').waitFor();
});

test('a session that is over leads to signing in, and says why', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link());
  await view.heading('Status');
  house.endSessions();
  house.tell({ topic: 'status' });
  await view.heading('Open Hearth');
  await view.page.getByText('Your session is over').waitFor();
});

test('what was being typed when a session ended is there again after signing in, in a dialog too', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link());
  await view.heading('Status');
  const signIn = async (): Promise<void> => {
    await view.heading('Open Hearth');
    await view.assertAccessible();
    await view.field('Username').fill('nora');
    await view.field('Password').fill('a quiet evening');
    await view.page.keyboard.press('Enter');
  };
  await view.page.goto(`${house.url}/#/settings`);
  await view.settled();
  await view.field('Largest upload').fill('70');
  house.endSessions();
  await view.button('Save').click();
  await signIn();
  await view.heading('Settings');
  assert.match(await view.page.title(), /^Settings/);
  assert.equal(await view.field('Largest upload').inputValue(), '70');
  assert.equal(await view.page.getByText('This session is over').count(), 0);
  await view.button('Save').click();
  await view.page.locator('.toasts').getByText('The settings have been saved.').waitFor();

  await view.page.goto(`${house.url}/#/backups`);
  await view.settled();
  await view.button('Make a backup').first().click();
  const dialog = view.page.getByRole('dialog');
  await dialog.getByLabel('Passphrase', { exact: true }).fill('the boat on the lake');
  house.endSessions();
  house.tell({ topic: 'status' });
  await dialog.waitFor({ state: 'hidden' });
  await view.picture('sign-in-over-dialog');
  await signIn();
  assert.equal(await dialog.getByLabel('Passphrase', { exact: true }).inputValue(), 'the boat on the lake');
  await dialog.getByLabel('Once more').fill('the boat on the lake');
  await dialog.getByRole('button', { name: 'Make it' }).click();
  await dialog.waitFor({ state: 'hidden' });
  assert.equal(house.seen.filter(({ call }) => call === 'POST /backups').length, 1);
});

test('signing out ends the session on both sides', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link());
  await view.heading('Status');
  await view.button('Sign out').click();
  await view.heading('Open Hearth');
  assert.equal(house.seen.at(-1)?.call, 'DELETE /session');
  await view.page.reload();
  await view.heading('Open Hearth');
});
