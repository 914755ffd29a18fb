import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectError, expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

const room = (roomId: string, action: string): string =>
  `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/${action}`;

const guestAccess = (rule: string): Json => ({
  type: 'm.room.guest_access',
  state_key: '',
  content: { guest_access: rule },
});

async function membershipSeenBy(who: TestClient, roomId: string, of: TestClient): Promise<string> {
  const path = room(roomId, `state/m.room.member/${encodeURIComponent(of.userId)}`);
  return expectOk(await who.get(path)).membership;
}

/** Waits, as a client of `who` would, until `of` has left the room. */
async function hearOfLeaving(who: TestClient, roomId: string, of: TestClient, since: string): Promise<void> {
  for (let token = since; ; ) {
    const answer = await who.sync({ since: token, timeout: 20_000 });
    const events: Json[] = answer.rooms?.join?.[roomId]?.timeline?.events ?? [];
    if (events.some((event) => event.state_key === of.userId && event.content.membership === 'leave')) return;
    token = answer.next_batch;
  }
}

test('guests join where the room says they can, and nowhere else', async () => {
  await using server = await TestServer.start({ config: { allow_guest_access: true } });
  const ann = await server.register('ann');
  const guest = await server.guest();
  const open = await ann.createRoom({ preset: 'public_chat', initial_state: [guestAccess('can_join')] });
  const closed = await ann.createRoom({ preset: 'public_chat', initial_state: [guestAccess('forbidden')] });

  await guest.join(open);
  assert.equal(await membershipSeenBy(ann, open, guest), 'join');
  expectError(await guest.post(room(closed, 'join')), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  // An invite does not make up for it.
  await ann.invite(closed, guest.userId);
  expectError(await guest.post(room(closed, 'join')), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  await guest.leave(closed);
  await guest.leave(open);
});

test('guests do nothing to others and knock on no doors', async () => {
  await using server = await TestServer.start({ config: { allow_guest_access: true } });
  const ann = await server.register('ann');
  const guest = await server.guest();
  const roomId = await ann.createRoom({ preset: 'public_chat', initial_state: [guestAccess('can_join')] });
  await guest.join(roomId);
  for (const action of ['invite', 'kick', 'ban', 'unban']) {
    const answer = await guest.post(room(roomId, action), { user_id: '@bob:hearth.test' });
    expectError(answer, 403, 'M_GUEST_ACCESS_FORBIDDEN');
  }
  const invite = room(roomId, `state/m.room.member/${encodeURIComponent('@bob:hearth.test')}`);
  expectError(await guest.put(invite, { membership: 'invite' }), 403, 'M_GUEST_ACCESS_FORBIDDEN');
  expectError(
    await guest.post(`/_matrix/client/v3/knock/${encodeURIComponent(roomId)}`),
    403,
    'M_GUEST_ACCESS_FORBIDDEN',
  );
});

test('when a room shuts its door to guests, they leave, and others stay', async () => {
  await using server = await TestServer.start({ config: { allow_guest_access: true } });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const guest = await server.guest();
  const roomId = await ann.createRoom({ preset: 'public_chat', initial_state: [guestAccess('can_join')] });
  await bob.join(roomId);
  await guest.join(roomId);

  const { next_batch: since } = await ann.sync();
  await ann.setState(roomId, 'm.room.guest_access', { guest_access: 'forbidden' });
  await hearOfLeaving(ann, roomId, guest, since);
  assert.equal(await membershipSeenBy(ann, roomId, bob), 'join');
  expectError(await guest.post(room(roomId, 'join')), 403, 'M_GUEST_ACCESS_FORBIDDEN');

  await ann.setState(roomId, 'm.room.guest_access', { guest_access: 'can_join' });
  await guest.join(roomId);
});
