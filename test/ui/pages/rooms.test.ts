import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Job } from '../../../server/appliance/contract.ts';
import { Onlooker } from '../browser.ts';
import { FakeRefusal } from '../fake-house.ts';
import { household } from '../household.ts';
import { Visit } from './visit.ts';

let onlooker: Onlooker;
before(async () => {
  onlooker = await Onlooker.start();
});
after(() => onlooker[Symbol.asyncDispose]());

const DINNER = 'rooms/!room0%3Abrook.example';

function purging(more: Partial<Job>): Job {
  return {
    id: 'job-1',
    kind: 'purge',
    title: 'Removing Dinner',
    state: 'running',
    startedAt: Date.now(),
    canCancel: false,
    ...more,
  };
}

test('rooms are sorted, searched and leafed through by the server', async () => {
  const asked: Record<string, string>[] = [];
  const page = household()['GET /rooms'];
  await using visit = await Visit.start(onlooker, 'rooms', {
    'GET /rooms': ({ query }) => {
      asked.push(Object.fromEntries(query));
      if (query.get('search') !== null) return { rooms: [], total: 0 };
      return query.get('from') === '0' ? page : { rooms: page.rooms.slice(0, 2), total: 10 };
    },
  });
  const { view } = visit;
  await visit.shows('1–8 of 57');
  await view.button('Size').click();
  await view.page
    .getByRole('columnheader', { name: 'Size' })
    .and(view.page.locator('[aria-sort=descending]'))
    .waitFor();
  await view.button('Next').click();
  await visit.shows('9–10 of 10');
  assert.equal(await view.button('Next').isDisabled(), true);
  await view.page.getByRole('searchbox', { name: 'Search rooms' }).fill('attic');
  await visit.shows('Nothing here matches “attic”.');
  assert.deepEqual(asked.at(0), { order: 'activity', from: '0', limit: '50' });
  assert.ok(asked.some(({ order, from }) => order === 'size' && from === '8'));
  assert.deepEqual(asked.at(-1), { order: 'size', from: '0', limit: '50', search: 'attic' });
});

test('a room is removed for good once its name has been typed, and its progress is seen', async () => {
  await using visit = await Visit.start(onlooker, DINNER, {});
  const { view } = visit;
  await view.button('Remove for good').click();
  await visit.dialog.getByText('18,204 events that take 220 MB').waitFor();
  await visit.dialog.getByText('The room is on no other server').waitFor();
  const remove = visit.dialog.getByRole('button', { name: 'Remove for good' });
  await visit.dialog.getByLabel('Type Dinner to confirm').fill('Breakfast');
  assert.equal(await remove.isDisabled(), true);
  await view.assertAccessible();
  await view.picture('rooms-remove');
  visit.assertNotSent('POST /rooms/!room0%3Abrook.example/purge');
  await visit.dialog.getByLabel('Type Dinner to confirm').fill('Dinner');
  visit.house.job(purging({ progress: 0.4, step: 'Messages are removed' }));
  await remove.click();
  const card = view.page.getByRole('region', { name: 'What you can do' });
  await card.getByRole('progressbar', { name: 'Removing Dinner' }).waitFor();
  await card.getByText('Messages are removed').waitFor();
  assert.equal(await view.button('Remove for good').isDisabled(), true, 'it is not begun twice');
  await view.assertAccessible();
  visit.house.job(purging({ state: 'done', endedAt: Date.now(), result: { events: 18_204, freedBytes: 2e8 } }));
  await view.heading('Rooms');
  await visit.said(/^The room is gone: 18,204 events removed/);
  // Of what nobody watches it is told later than it would have been of this.
  visit.house.job(purging({ id: 'job-2', title: 'Removing Supper', state: 'done', endedAt: Date.now() }));
  await visit.said('Done: Removing Supper');
  assert.equal(await view.page.locator('.toast').count(), 2, 'the end of each is told once');
});

test('everybody leaves a room, and it is said why that failed', async () => {
  await using visit = await Visit.start(onlooker, DINNER, {});
  await visit.view.button('Leave').click();
  await visit.dialog.getByText('5 people of this server leave the room').waitFor();
  await visit.dialog.getByRole('button', { name: 'Leave' }).click();
  await visit.dialog.waitFor({ state: 'hidden' });
  visit.house.job({
    ...purging({ kind: 'leave', title: 'Leaving Dinner', state: 'failed', endedAt: Date.now() }),
    error: { errcode: 'M_FORBIDDEN', error: 'Not everybody could leave.' },
  });
  const card = visit.view.page.getByRole('region', { name: 'What you can do' });
  await card.getByRole('alert').getByText('Not everybody could leave.').waitFor();

  // There it has been told. What nobody watches is told in passing, and stays in the corner for a while.
  const error = { errcode: 'M_UNKNOWN', error: 'The disk is full.' };
  const failed = { state: 'failed', endedAt: Date.now(), error } as const;
  visit.house.job(purging({ id: 'job-2', kind: 'backup', title: 'Making a backup', ...failed }));
  await visit.said('Making a backup: failed. The disk is full.');
  assert.equal(await visit.view.page.locator('.toast').count(), 1);
  await visit.view.button('1 thing failed').waitFor();

  // So is what was begun here, once somebody has gone elsewhere.
  await visit.goTo('status');
  visit.house.job(purging({ id: 'job-1', kind: 'leave', title: 'Leaving Lunch', ...failed }));
  await visit.said('Leaving Lunch: failed. The disk is full.');
});

test('a room is blocked and allowed again', async () => {
  const room = household()['GET /rooms/{roomId}'];
  let isBlocked = false;
  await using visit = await Visit.start(onlooker, DINNER, {
    'GET /rooms/{roomId}': () => ({ ...room, isBlocked }),
    'PUT /rooms/{roomId}/blocked': ({ body }) => {
      isBlocked = (body as { blocked: boolean }).blocked;
      return {};
    },
  });
  await visit.view.button('Block').click();
  await visit.dialog.getByRole('button', { name: 'Block' }).click();
  await visit.said('The room is blocked.');
  await visit.shows('This room is blocked');
  await visit.view.button('Allow again').click();
  await visit.said('The room may be joined again.');
});

test('the members of a large room are searched, and its servers listed', async () => {
  const room = household()['GET /rooms/{roomId}'];
  const membersList = Array.from({ length: 120 }, (_member, at) => ({
    userId: `@singer${at}:mill.example`,
    displayName: `Singer ${at}`,
    membership: 'join',
    powerLevel: 0,
  }));
  await using visit = await Visit.start(onlooker, DINNER, { 'GET /rooms/{roomId}': { ...room, membersList } });
  const { view } = visit;
  assert.equal(await view.page.getByRole('row').count(), 51, 'the first fifty and the head');
  await view.button('Show 70 more').click();
  await visit.row('Singer 119').waitFor();
  await view.page.getByRole('searchbox', { name: 'Search members' }).fill('singer 77');
  await visit.row('Singer 78').waitFor({ state: 'detached' });
  await visit.row('Singer 77').waitFor();
  await view.page.getByRole('tab', { name: '2 servers' }).click();
  await visit.shows('mill.example');
});

test('a room that is gone says so', async () => {
  await using visit = await Visit.start(onlooker, DINNER, {
    'GET /rooms/{roomId}': new FakeRefusal(404, 'There is no such room here'),
  });
  await visit.shows('There is no such room here');
});
