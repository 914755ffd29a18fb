import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Invitation, Person } from '../../../server/appliance/contract.ts';
import { Onlooker } from '../browser.ts';
import { FakeRefusal } from '../fake-house.ts';
import { household } from '../household.ts';
import { Visit } from './visit.ts';

let onlooker: Onlooker;
before(async () => {
  onlooker = await Onlooker.start();
});
after(() => onlooker[Symbol.asyncDispose]());

const NORA = 'people/%40nora%3Abrook.example';

test('people are found by name, and closed accounts only on request', async () => {
  const asked: string[] = [];
  const { people, counts } = household()['GET /people'];
  await using visit = await Visit.start(onlooker, 'people', {
    'GET /people': ({ query }) => {
      asked.push(query.toString());
      const search = query.get('search') ?? '';
      const isShown = ({ userId, isDeactivated }: Person): boolean =>
        userId.includes(search) && (query.get('deactivated') === null || !isDeactivated);
      const found = people.filter(isShown);
      return { people: found, total: found.length, counts };
    },
  });
  await visit.row('Nora').getByText('administrator').waitFor();
  assert.equal(await visit.row('Lodger').count(), 0);
  await visit.view.page.getByText('Also closed accounts').click();
  await visit.row('Lodger').getByText('closed').waitFor();
  await visit.view.page.getByRole('searchbox', { name: 'Search people' }).fill('nobody');
  await visit.shows('Nothing here matches “nobody”.');
  await visit.view.button('Show all').click();
  await visit.row('Emil').waitFor();
  assert.ok(asked.some((query) => query.includes('deactivated=false')));
  assert.ok(asked.some((query) => query.includes('search=nobody')));
});

test('a password is made up, set and shown once to be told', async () => {
  await using visit = await Visit.start(onlooker, 'people', {});
  const { view } = visit;
  await visit.choose('Actions for Emil', 'Reset password');
  await visit.dialog.getByRole('button', { name: 'Make one up' }).click();
  await visit.dialog.getByText('strong').waitFor();
  await visit.dialog.getByText('Sign out all devices').click();
  await view.assertAccessible();
  await view.picture('people-password');
  await visit.dialog.getByRole('button', { name: 'Set password' }).click();
  await visit.said('Emil has a new password.');
  const [body] = visit.sent('POST /people/%40emil%3Abrook.example/password') as {
    password: string;
    signOut: boolean;
  }[];
  assert.match(body?.password ?? '', /^[a-z2-9]{4}(-[a-z2-9]{4}){3}$/);
  assert.equal(body?.signOut, true);
  await visit.dialog.getByText(body?.password ?? 'none').waitFor();
  await visit.dialog.getByText('Tell Emil this password').waitFor();
  await visit.dialog.getByRole('button', { name: 'Close' }).click();
  await visit.dialog.waitFor({ state: 'hidden' });
});

test('a password that is too weak is refused at its field', async () => {
  await using visit = await Visit.start(onlooker, NORA, {
    'POST /people/{userId}/password': new FakeRefusal(400, 'The password is too short', 'password'),
  });
  await visit.view.button('Reset password').click();
  const field = visit.dialog.getByLabel('New password', { exact: true });
  await field.fill('cat');
  await field.press('Enter');
  await visit.dialog.getByText('The password is too short.').waitFor();
  assert.equal(await field.getAttribute('aria-invalid'), 'true');
  await visit.view.page.keyboard.press('Escape');
  await visit.dialog.waitFor({ state: 'hidden' });
});

test('a device is signed out after it was said what is lost, and is gone from the list', async () => {
  const person = household()['GET /people/{userId}'];
  let devicesList = person.devicesList;
  await using visit = await Visit.start(onlooker, NORA, {
    'GET /people/{userId}': () => ({ ...person, devicesList }),
    'DELETE /people/{userId}/devices/{deviceId}': ({ params: [, deviceId] }) => {
      devicesList = devicesList.filter((device) => device.deviceId !== deviceId);
      return {};
    },
  });
  const signOut = visit.view.button('Sign out Kitchen tablet');
  await signOut.click();
  await visit.dialog.getByText('Encrypted messages that only this device can read are lost').waitFor();
  await visit.dialog.getByRole('button', { name: 'Cancel' }).click();
  visit.assertNotSent('DELETE /people/%40nora%3Abrook.example/devices/ASDFGHJKLM');
  await signOut.click();
  await visit.dialog.getByRole('button', { name: 'Sign out' }).click();
  await visit.said('Kitchen tablet has been signed out.');
  await visit.row('Kitchen tablet').waitFor({ state: 'detached' });
  assert.equal(await visit.row('Element X on Pixel').count(), 1);
});

test('the last administrator cannot be made an ordinary user, and it is said why', async () => {
  const why = '@nora:brook.example is the only administrator';
  await using visit = await Visit.start(onlooker, NORA, { 'PUT /people/{userId}/admin': new FakeRefusal(403, why) });
  await visit.view.button('Take away').click();
  await visit.dialog.getByRole('button', { name: 'Take away' }).click();
  await visit.said(why);
});

test('an account is locked and unlocked', async () => {
  const person = household()['GET /people/{userId}'];
  let isLocked = false;
  await using visit = await Visit.start(onlooker, NORA, {
    'GET /people/{userId}': () => ({ ...person, isLocked }),
    'PUT /people/{userId}/locked': ({ body }) => {
      ({ locked: isLocked } = body as { locked: boolean });
      return {};
    },
  });
  await visit.view.button('Lock').click();
  await visit.dialog.getByRole('button', { name: 'Lock' }).click();
  await visit.said('The account of Nora is locked.');
  await visit.shows('This account is locked');
  await visit.view.button('Unlock').click();
  await visit.said('The account of Nora is unlocked.');
  await visit.view.button('Lock').waitFor();
});

test('an account is closed only after its address has been typed', async () => {
  const person = household()['GET /people/{userId}'];
  let isDeactivated = false;
  await using visit = await Visit.start(onlooker, NORA, {
    'GET /people/{userId}': () => ({ ...person, isDeactivated }),
    'POST /people/{userId}/deactivate': () => {
      isDeactivated = true;
      return {};
    },
  });
  await visit.view.button('Close account').click();
  const close = visit.dialog.getByRole('button', { name: 'Close account' });
  assert.equal(await close.isDisabled(), true);
  await visit.dialog.getByText('membership in 12 rooms').waitFor();
  await visit.view.assertAccessible();
  await visit.view.picture('people-close');
  await visit.dialog.getByText('Also hide what was written').click();
  await visit.dialog.getByLabel(/^Type @nora/).fill('@nora:brook.example');
  await close.click();
  await visit.said('The account of Nora is closed.');
  assert.deepEqual(visit.sent('POST /people/%40nora%3Abrook.example/deactivate'), [{ erase: true }]);
  await visit.shows('This account is closed');
  assert.equal(await visit.view.button('Reset password').count(), 0);
});

test('somebody is invited by a link and a QR code, and the invitation is withdrawn', async () => {
  const fresh = household()['POST /invitations'];
  let invitations: Invitation[] = [];
  await using visit = await Visit.start(onlooker, 'people', {
    'GET /invitations': () => ({ invitations }),
    'POST /invitations': ({ body }) => {
      const made = { ...fresh, ...(body as { note: string }) };
      invitations = [made];
      return made;
    },
    'DELETE /invitations/{token}': () => {
      invitations = [];
      return {};
    },
  });
  const { view } = visit;
  await view.page.getByRole('link', { name: 'Invite someone' }).click();
  await visit.dialog.getByLabel('For whom').fill('Grandmother');
  await visit.dialog.getByLabel('How many accounts').fill('0');
  await visit.dialog.getByText('A whole number from 1 to 1000.').waitFor();
  assert.equal(await visit.dialog.getByRole('button', { name: 'Make invitation' }).isDisabled(), true);
  await visit.dialog.getByLabel('How many accounts').fill('2');
  await visit.dialog.getByRole('button', { name: 'Make invitation' }).click();
  await visit.dialog.getByRole('img', { name: 'QR code of the invitation link' }).waitFor();
  await visit.dialog.getByText('https://matrix.brook.example/_hearth/join/fresh').waitFor();
  await view.assertAccessible();
  await view.picture('people-invitation');
  const [body] = visit.sent('POST /invitations') as { note: string; uses: number; expiresAt: number }[];
  assert.equal(body?.note, 'Grandmother');
  assert.equal(body?.uses, 2);
  assert.ok(Math.abs((body?.expiresAt ?? 0) - Date.now() - 7 * 86_400_000) < 60_000, 'good for a week');
  await visit.dialog.getByRole('button', { name: 'Close' }).click();
  await visit.choose('Actions for the invitation Grandmother', 'Withdraw');
  await visit.dialog.getByRole('button', { name: 'Withdraw' }).click();
  await visit.said('The invitation has been withdrawn.');
  await visit.shows('No invitations');
});

test('an invitation of a stranger is declined', async () => {
  let { invites } = household()['GET /stranger-invites'];
  await using visit = await Visit.start(onlooker, 'people', {
    'GET /stranger-invites': () => ({ invites }),
    'POST /stranger-invites/decline': ({ body }) => {
      invites = invites.filter(({ roomId }) => roomId !== (body as { roomId: string }).roomId);
      return {};
    },
  });
  await visit.view.page.getByRole('link', { name: 'Strangers 2' }).click();
  await visit.view.heading('Invitations from strangers');
  await visit.view.button(/^Decline the invitation of @emil.* to You have won$/).click();
  await visit.dialog.getByText('@winner:lucky.example is told that it was declined').waitFor();
  await visit.dialog.getByRole('button', { name: 'Decline' }).click();
  await visit.said('The invitation has been declined.');
  assert.deepEqual(visit.sent('POST /stranger-invites/decline'), [
    { userId: '@emil:brook.example', roomId: '!prize:lucky.example' },
  ]);
  await visit.row('You have won').waitFor({ state: 'detached' });
  await visit.row('Choir').waitFor();
});

test('somebody who is not there is said not to be there', async () => {
  await using visit = await Visit.start(onlooker, 'people/%40nobody%3Abrook.example', {
    'GET /people/{userId}': new FakeRefusal(404, 'There is no such user here'),
  });
  await visit.shows('There is no such person here');
  await visit.view.page.getByRole('link', { name: 'All people' }).click();
  await visit.view.heading('People');
});
