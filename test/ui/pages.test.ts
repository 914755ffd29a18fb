import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Locator } from 'playwright-core';
import { Onlooker, type Look } from './browser.ts';
import { FakeHouse } from './fake-house.ts';
import { pages } from '../../renderer/views/pages.ts';

let onlooker: Onlooker;
before(async () => {
  onlooker = await Onlooker.start();
});
after(() => onlooker[Symbol.asyncDispose]());

const LOOKS: readonly Required<Look>[] = [
  { theme: 'light', size: 'desktop' },
  { theme: 'dark', size: 'desktop' },
  { theme: 'light', size: 'phone' },
  { theme: 'dark', size: 'narrow' },
];

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
