import { after, before, test } from 'node:test';
import { LOOKS, Onlooker } from '../browser.ts';
import { Visit } from './visit.ts';

let onlooker: Onlooker;
before(async () => {
  onlooker = await Onlooker.start();
});
after(() => onlooker[Symbol.asyncDispose]());

const PLACES = [
  ['person', 'people/%40nora%3Abrook.example'],
  ['invitations', 'people/invitations'],
  ['strangers', 'people/strangers'],
  ['room', 'rooms/!room0%3Abrook.example'],
  ['recovery', 'backups/recovery'],
] as const;

for (const look of LOOKS) {
  test(`the pages within pages can be used by everybody, ${look.theme} on a ${look.size} screen`, async () => {
    await using visit = await Visit.start(onlooker, 'people', {}, look);
    for (const [name, place] of PLACES) {
      await visit.goTo(place);
      await visit.view.picture(`${name}-${look.theme}-${look.size}`);
      await visit.view.assertAccessible();
    }
  });
}

test('by the keyboard alone a device is signed out', async () => {
  await using visit = await Visit.start(onlooker, 'people', {});
  const { view } = visit;
  await view.tabTo('Nora', 'link');
  await view.page.keyboard.press('Enter');
  await view.heading('Nora');
  await view.tabTo('Sign out Kitchen tablet');
  await view.page.keyboard.press('Enter');
  await visit.dialog.waitFor();
  // What does nothing is at hand first.
  await visit.dialog.getByRole('button', { name: 'Cancel' }).and(view.page.locator(':focus')).waitFor();
  await view.page.keyboard.press('Tab');
  await view.page.keyboard.press('Enter');
  await visit.said('Kitchen tablet has been signed out.');
});
