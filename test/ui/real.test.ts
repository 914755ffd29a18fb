import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { TestAppliance } from '../appliance/appliance-kit.ts';
import { Onlooker, pages } from './browser.ts';

let onlooker: Onlooker;
before(async () => {
  onlooker = await Onlooker.start();
});
after(() => onlooker[Symbol.asyncDispose]());

/** A server for the home network that nora runs. */
async function settle(house: TestAppliance): Promise<{ clientUrl: string }> {
  await house.call('PUT /setup', { body: { reach: 'home', serverName: 'cottage.local' } });
  return house.call('POST /setup/finish', { body: { username: 'nora', password: 'a quiet evening' } });
}

test('the homeserver is paused and resumed from its page, and whoever runs it gets in again with their account', async () => {
  await using house = await TestAppliance.start({ pages });
  const { clientUrl } = await settle(house);
  await using view = await onlooker.open(`${house.url}/#/link/${house.appliance.createLink()}`);
  await view.heading('Status');
  const line = view.page.locator('.truth-line');
  await line.getByText('On your home network').waitFor();

  await view.button('More for the server').click();
  await view.page.getByRole('menuitem', { name: 'Pause' }).click();
  await view.page.getByRole('dialog').getByRole('button', { name: 'Pause', exact: true }).click();
  await line.getByText('Paused').waitFor();
  await assert.rejects(fetch(`${clientUrl}/_matrix/client/versions`), 'apps do not get through');
  await view.picture('status-paused-real');
  await view.assertAccessible();
  await view.button('Resume').click();
  await line.getByText('On your home network').waitFor();
  const { clientUrl: resumed } = await house.call('GET /status');
  assert.equal((await fetch(`${resumed}/_matrix/client/versions`)).status, 200);

  await view.button('Sign out').click();
  await view.heading('Open Hearth');
  await view.field('Username').fill('nora');
  await view.field('Password').fill('a loud evening');
  await view.button('Sign in').click();
  await view.page.getByRole('alert').getByText('That is not the name and password').waitFor();
  await view.field('Password').fill('a quiet evening');
  await view.button('Sign in').click();
  await view.heading('Status');
});

test('every page shows what a real server has to tell, and none of them stumbles', async () => {
  await using house = await TestAppliance.start({ pages });
  await settle(house);
  await using view = await onlooker.open(`${house.url}/#/link/${house.appliance.createLink()}`);
  await view.heading('Status');
  const links = await view.page
    .getByRole('navigation')
    .getByRole('link')
    .evaluateAll((all) => all.map((each) => each.getAttribute('href')));
  assert.ok(links.length >= 10);
  for (const link of new Set(links)) {
    await view.page.goto(`${house.url}/${link}`);
    await view.settled();
    await view.picture(`real-${link?.replace('#/', '')}`);
    assert.equal(await view.page.getByText('That did not work').count(), 0, String(link));
    assert.equal(await view.page.getByText('This page has stumbled').count(), 0, String(link));
    await view.assertAccessible();
  }
});

test('the doctor looks at a home server and says that nothing has to be opened', async () => {
  await using house = await TestAppliance.start({ pages });
  await settle(house);
  await using view = await onlooker.open(`${house.url}/#/link/${house.appliance.createLink()}`);
  await view.heading('Status');
  await view.page.goto(`${house.url}/#/reach`);
  await view.heading('Reach');
  await view.button('Check now').click();
  await view.page.getByText(/^Checked cottage\.local/).waitFor();
  const { last } = await house.call('GET /doctor');
  assert.ok(last !== undefined);
  await view.page.getByRole('region', { name: 'Check the way' }).getByText(last.summary).waitFor();
  await view.picture('reach-real');
  await view.assertAccessible();

  await view.field('Server to check').fill('nas.1');
  await view.button('Check again').click();
  const found = view.page.getByRole('region', { name: 'Check the way' });
  await found.getByText(/^Checked nas\.1/).waitFor();
  await found.getByText('Choose a domain name that ends in letters, such as example.com.').waitFor();
  await view.picture('reach-real-other');
  assert.deepEqual((await house.call('GET /doctor')).last, last);
});

test('when Hearth is closed the page says so, and stays', async () => {
  const house = await TestAppliance.start({ pages });
  await using _house = house;
  await settle(house);
  await using view = await onlooker.open(`${house.url}/#/link/${house.appliance.createLink()}`);
  await view.heading('Status');
  await house.appliance.stop();
  await view.page.getByText('Hearth does not answer; trying again…').waitFor();
  await view.heading('Status');
});

test('what was changed in the file by hand asks for a restart on the page of how all is, also after a reload', async () => {
  await using house = await TestAppliance.start({ pages });
  await settle(house);
  const { configFile } = await house.call('GET /about');
  appendFileSync(configFile, '\nmax_upload_size: 7M\n');
  await using view = await onlooker.open(`${house.url}/#/link/${house.appliance.createLink()}`);
  await view.heading('Status');
  await view.button('Restart now').waitFor();
  await view.page.reload();
  await view.button('Restart now').waitFor();
  await view.picture('status-restart-real');
  await view.assertAccessible();
  await view.button('Restart now').click();
  await view.page.getByRole('dialog').getByRole('button', { name: 'Restart', exact: true }).click();
  await view.button('Restart now').waitFor({ state: 'hidden' });
  assert.equal((await house.call('GET /status')).restartDue, false);
});
