import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Locator } from 'playwright-core';
import { LOOKS, Onlooker } from './browser.ts';
import { FakeHouse } from './fake-house.ts';
import { pages } from '../../renderer/views/pages.ts';

let onlooker: Onlooker;
before(async () => {
  onlooker = await Onlooker.start();
});
after(() => onlooker[Symbol.asyncDispose]());

for (const look of LOOKS) {
  test(`every page can be used by everybody, ${look.theme} on a ${look.size} screen`, async () => {
    await using house = await FakeHouse.start();
    await using view = await onlooker.open(house.link(), look);
    await view.heading('Status');
    for (const { id } of pages) {
      await view.page.goto(`${house.url}/#/${id}`);
      await view.settled();
      await view.picture(`${id}-${look.theme}-${look.size}`);
      await view.assertAccessible();
    }
  });
}

for (const size of ['desktop', 'narrow'] as const) {
  test(`there is room for the longer words of other languages on a ${size} screen`, async () => {
    await using house = await FakeHouse.start();
    await using view = await onlooker.open(house.link(), { size });
    await view.heading('Status');
    for (const { id } of pages) {
      // Anew: React knows nothing of what was done to its words.
      await view.page.goto(`${house.url}/#/${id}`);
      await view.page.reload();
      await view.settled();
      await view.assertRoomForLongWords();
    }
  });
}

test('where the system chooses the colours, it is still seen what is chosen', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link());
  await view.heading('Status');
  await view.page.emulateMedia({ forcedColors: 'active' });
  const edgeOf = (link: Locator): Promise<string> =>
    link.evaluate((element) => getComputedStyle(element).borderBottomColor);
  await view.page.goto(`${house.url}/#/people`);
  await view.settled();
  const nav = view.page.locator('.sub-nav a');
  assert.notEqual(await edgeOf(nav.nth(0)), await edgeOf(nav.nth(1)));
  await view.page.goto(`${house.url}/#/reach`);
  await view.settled();
  const tab = view.page.getByRole('tab');
  assert.notEqual(await edgeOf(tab.nth(0)), await edgeOf(tab.nth(1)));
  await view.page.goto(`${house.url}/#/settings`);
  await view.settled();
  const thumb = view.page.locator('.switch-track').first();
  const [track, knob] = await thumb.evaluate((element) => [
    getComputedStyle(element).backgroundColor,
    getComputedStyle(element, '::after').backgroundColor,
  ]);
  assert.notEqual(track, knob);
  await view.picture('forced-colours');
});

test('on a phone a table is sorted by what stands above it', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link(), { size: 'phone' });
  await view.heading('Status');
  await view.page.goto(`${house.url}/#/people`);
  await view.settled();
  const names = (): Promise<string[]> => view.page.locator('tbody .lead a').allInnerTexts();
  const before = await names();
  await view.page.getByRole('columnheader').getByRole('button', { name: 'Person' }).click();
  assert.deepEqual(
    await names(),
    before.toSorted((one, other) => one.localeCompare(other)),
  );
  await view.assertAccessible();
  await view.picture('people-sorted-phone');
});

test('a question is not asked any more on another page, and what is said in passing is heard above it', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link());
  await view.heading('Status');
  await view.page.goto(`${house.url}/#/people`);
  await view.settled();
  await view.page.goto(`${house.url}/#/status`);
  await view.heading('Status');
  const dialog = view.page.getByRole('dialog');
  await view.button('More for the server').click();
  await view.page.getByRole('menuitem', { name: 'Pause' }).click();
  await dialog.waitFor();
  house.job({
    id: 'b1',
    kind: 'backup',
    title: 'Making a backup',
    state: 'failed',
    startedAt: Date.now(),
    endedAt: Date.now(),
    canCancel: false,
    error: { errcode: 'M_UNKNOWN', error: 'The disk is full.' },
  });
  const toast = view.page.getByRole('status').filter({ hasText: 'The disk is full.' });
  await toast.waitFor();
  await view.assertAccessible();
  await view.picture('toast-above-dialog');
  await toast.getByRole('button', { name: 'Dismiss' }).click();
  await toast.waitFor({ state: 'detached' });
  assert.equal(await dialog.count(), 1, 'the question is still there');
  await view.page.goBack();
  await view.heading('People');
  await dialog.waitFor({ state: 'detached' });
  assert.equal(
    house.seen.some(({ call }) => call === 'POST /server/pause'),
    false,
  );

  await view.page.goto(`${house.url}/#/status`);
  await view.heading('Status');
  await view.tabTo('More for the server');
  await view.page.keyboard.press('Enter');
  await view.page.keyboard.press('Enter');
  await dialog.waitFor();
  await view.page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await view.button('More for the server').and(view.page.locator(':focus')).waitFor();
});

test('a page that does not exist says so and leads back', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link());
  await view.heading('Status');
  await view.page.goto(`${house.url}/#/attic`);
  await view.heading('There is no such page');
  await view.page.getByRole('link', { name: 'Go to Status' }).click();
  await view.heading('Status');
});

test('the keyboard reaches every page, and its heading is read out', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link());
  await view.heading('Status');
  await view.tabTo('Reach', 'link');
  await view.page.keyboard.press('Enter');
  const heading = await view.heading('Reach');
  assert.equal(await heading.evaluate((element) => element === document.activeElement), true);
  assert.match(await view.page.title(), /^Reach/);
  await view.page.keyboard.press('Shift+Tab');
  await view.page.keyboard.press('Control+Home');
  await view.tabTo('Skip to the content', 'link');
  await view.page.keyboard.press('Enter');
  assert.equal(await view.page.evaluate(() => document.activeElement?.id), 'content');
  assert.match(view.page.url(), /#\/reach$/, 'the page stays');
});

test('the look that was chosen outlasts a reload', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link(), { theme: 'light' });
  await view.heading('Status');
  const isDark = (): Promise<boolean> =>
    view.page.evaluate(() => /^rgb\(\d{1,2}, /.test(getComputedStyle(document.documentElement).backgroundColor));
  assert.equal(await isDark(), false);
  const look = (name: string): Locator => view.page.getByRole('radio', { name });
  await look('Dark').click();
  await view.page.locator('html[data-theme=dark]').waitFor();
  assert.equal(await isDark(), true);
  await view.page.reload();
  await view.heading('Status');
  assert.equal(await isDark(), true);
  assert.equal(await look('Dark').getAttribute('aria-checked'), 'true');
  await look('As the system has it').click();
  await view.page.locator('html:not([data-theme])').waitFor();
  assert.equal(await isDark(), false);
});

test('a phone finds the pages that do not fit into its bar under More', async () => {
  await using house = await FakeHouse.start();
  await using view = await onlooker.open(house.link(), { size: 'phone' });
  await view.heading('Status');
  await view.button('More').click();
  const sheet = view.page.getByRole('dialog', { name: 'More pages' });
  await sheet.getByRole('link', { name: 'Reach' }).click();
  await view.heading('Reach');
  await sheet.waitFor({ state: 'hidden' });
});
