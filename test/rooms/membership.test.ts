import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../server/matrix/json.ts';
import type { StreamPosition } from '../../server/storage/types.ts';
import { alice, bob, carol, dora, draft, HOME, AWAY, household, receive, remoteEvent, userId } from './room-kit.ts';

test('a member is what the newest event says, with name, picture and who did it', async (t) => {
  const home = household(t);
  const { members } = home.rooms;
  const roomId = await home.createRoom();
  const joined = await home.send(
    roomId,
    draft.member(bob, bob, 'join', { displayname: 'Bob', avatar_url: 'mxc://hearth.test/bob' }),
  );
  assert.deepEqual(members.findMember(roomId, bob), {
    roomId,
    userId: bob,
    membership: 'join',
    eventId: joined.eventId,
    sender: bob,
    position: joined.position,
    joinedPosition: joined.position,
    displayName: 'Bob',
    avatarUrl: 'mxc://hearth.test/bob',
    forgotten: false,
  });
  const kicked = await home.send(roomId, draft.member(alice, bob, 'leave', { reason: 'Bed time' }));
  const member = members.findMember(roomId, bob);
  assert.equal(member?.membership, 'leave');
  assert.equal(member?.sender, alice);
  assert.equal(member?.position, kicked.position);
  assert.equal(member?.displayName, undefined);
  assert.equal(members.findMember(roomId, carol), undefined);
});

test('who is where can be asked from either side', async (t) => {
  const home = household(t);
  const { members } = home.rooms;
  const kitchen = await home.createRoom();
  const garden = await home.createRoom();
  const attic = await home.createRoom();
  await home.send(kitchen, draft.member(bob, bob, 'join'));
  await home.send(garden, draft.member(alice, bob, 'invite'));
  await home.send(attic, draft.member(bob, bob, 'join'));
  await home.send(attic, draft.member(bob, bob, 'leave'));
  await home.send(attic, draft.member(carol, carol, 'join'));

  const where = (user: typeof bob, ...memberships: ('join' | 'invite' | 'leave')[]) =>
    members.listRoomsOf(user, memberships).map(({ roomId }) => roomId);
  assert.deepEqual(where(bob, 'join'), [kitchen]);
  assert.deepEqual(where(bob, 'invite'), [garden]);
  assert.deepEqual(new Set(where(bob, 'join', 'leave', 'invite')), new Set([kitchen, garden, attic]));
  assert.deepEqual(
    members
      .listMembers(attic)
      .map(({ userId: user }) => user)
      .sort(),
    [alice, bob, carol].sort(),
  );
  assert.deepEqual(
    members.listMembers(attic, 'leave').map(({ userId: user }) => user),
    [bob],
  );
  assert.equal(members.countMembers(attic, 'join'), 2);
  assert.equal(members.countMembers(attic, 'leave'), 1);
  assert.ok(members.shareRoom(alice, bob));
  assert.ok(!members.shareRoom(bob, carol));
  assert.deepEqual(members.listMutualRooms(alice, carol), [attic]);
  assert.deepEqual(members.listSharingUsers(bob).sort(), [alice, bob].sort());
  assert.deepEqual(members.listSharingUsers(userId('@nobody:hearth.test')), []);
});

test('the servers and local users of a room follow who comes and goes', async (t) => {
  const home = household(t);
  const { members } = home.rooms;
  const roomId = await home.createRoom();
  assert.deepEqual(members.listServers(roomId), [HOME]);
  assert.deepEqual(members.listLocalJoined(roomId), [alice]);
  const latest = home.rooms.timeline.findLatest(roomId);
  assert.ok(latest);
  const joined = await receive(home, remoteEvent(home, roomId, draft.member(dora, dora, 'join'), { after: [latest] }));
  assert.deepEqual(members.listServers(roomId).sort(), [AWAY, HOME].sort());
  assert.deepEqual(members.listLocalJoined(roomId), [alice]);
  await receive(home, remoteEvent(home, roomId, draft.member(dora, dora, 'leave'), { after: [joined] }));
  await home.send(roomId, draft.member(bob, bob, 'join'));
  assert.deepEqual(members.listServers(roomId), [HOME]);
  assert.deepEqual(members.listLocalJoined(roomId).sort(), [alice, bob].sort());
  assert.deepEqual((await home.reopen()).rooms.members.listLocalJoined(roomId).sort(), [alice, bob].sort());
});

test('the history of a membership tells a new name from a new arrival', async (t) => {
  const home = household(t);
  const { members } = home.rooms;
  const roomId = await home.createRoom();
  const start = home.db.position();
  const invited = await home.send(roomId, draft.member(alice, bob, 'invite'));
  const joined = await home.send(roomId, draft.member(bob, bob, 'join', { displayname: 'Bob' }));
  const renamed = await home.send(roomId, draft.member(bob, bob, 'join', { displayname: 'Robert' }));
  const left = await home.send(roomId, draft.member(bob, bob, 'leave'));

  const changes = members.listMembershipChanges(bob, start, home.db.position());
  assert.deepEqual(
    changes.map(({ before, after }) => [before, after.membership, after.displayName, after.sender]),
    [
      [undefined, 'invite', undefined, alice],
      ['invite', 'join', 'Bob', bob],
      ['join', 'join', 'Robert', bob],
      ['join', 'leave', undefined, bob],
    ],
  );
  assert.deepEqual(
    members.listMembershipChanges(bob, joined.position, renamed.position).map(({ after }) => after.eventId),
    [renamed.eventId],
  );
  const at = (position: StreamPosition) => members.membershipAt(roomId, bob, position);
  assert.equal(at(start), undefined);
  assert.deepEqual(at(invited.position), { membership: 'invite', eventId: invited.eventId });
  assert.deepEqual(at(renamed.position), { membership: 'join', eventId: renamed.eventId });
  assert.deepEqual(at(home.db.position()), { membership: 'leave', eventId: left.eventId });
});

test('a room can be forgotten once it is left, and is remembered when one is asked back', async (t) => {
  const home = household(t);
  const { members } = home.rooms;
  const roomId = await home.createRoom();
  await home.send(roomId, draft.member(bob, bob, 'join'));
  const forget = () => home.db.write((tx) => members.forget(tx, roomId, bob));
  assert.equal(forget(), false);
  await home.send(roomId, draft.member(bob, bob, 'leave'));
  assert.equal(forget(), true);
  assert.equal(members.findMember(roomId, bob)?.forgotten, true);
  assert.deepEqual(members.listRoomsOf(bob, ['leave']), []);

  // Being banned meanwhile is no reason to hear of it.
  await home.send(roomId, draft.member(alice, bob, 'ban'));
  assert.equal(members.findMember(roomId, bob)?.forgotten, true);
  await home.send(roomId, draft.member(alice, bob, 'leave'));
  await home.send(roomId, draft.member(alice, bob, 'invite'));
  assert.equal(members.findMember(roomId, bob)?.forgotten, false);
});

test('an invitation shows the face of the room as it was then', async (t) => {
  const home = household(t);
  const { members } = home.rooms;
  const roomId = await home.createRoom({
    more: [
      draft.state(alice, 'm.room.name', { name: 'Kitchen' }),
      draft.state(alice, 'm.room.topic', { topic: 'Dinner' }),
      draft.state(alice, 'm.room.avatar', { url: 'mxc://hearth.test/a' }),
      draft.state(alice, 'm.room.canonical_alias', { alias: '#kitchen:hearth.test' }),
      draft.state(alice, 'm.room.encryption', { algorithm: 'm.megolm.v1.aes-sha2' }),
      draft.state(alice, 'org.example.secret', { code: '1234' }),
    ],
  });
  await home.send(roomId, draft.member(alice, bob, 'invite', { reason: 'Come in' }));
  await home.send(roomId, draft.state(alice, 'm.room.name', { name: 'Cellar' }));

  const shown = members.listStrippedState(roomId, bob);
  const byType = new Map(shown.map((event) => [JSON.stringify([event['type'], event['state_key']]), event]));
  assert.deepEqual(
    new Set(byType.keys()),
    new Set(
      [
        ...['create', 'name', 'topic', 'avatar', 'join_rules', 'canonical_alias', 'encryption'].map((type) => [
          `m.room.${type}`,
          '',
        ]),
        ['m.room.member', alice],
        ['m.room.member', bob],
      ].map((key) => JSON.stringify(key)),
    ),
  );
  assert.deepEqual(byType.get(JSON.stringify(['m.room.name', ''])), {
    type: 'm.room.name',
    state_key: '',
    sender: alice,
    content: { name: 'Kitchen' },
  });
  for (const event of shown) {
    assert.deepEqual(Object.keys(event).sort(), ['content', 'sender', 'state_key', 'type']);
  }
  const invitation: JsonObject | undefined = byType.get(JSON.stringify(['m.room.member', bob]));
  assert.deepEqual(invitation?.['content'], { membership: 'invite', reason: 'Come in' });

  await home.send(roomId, draft.member(bob, bob, 'join'));
  assert.deepEqual(members.listStrippedState(roomId, bob), []);
});

test('whoever knocks is shown the room too', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom({
    joinRule: 'knock',
    more: [draft.state(alice, 'm.room.name', { name: 'Den' })],
  });
  await home.send(roomId, draft.member(bob, bob, 'knock'));
  const shown = home.rooms.members.listStrippedState(roomId, bob);
  assert.deepEqual(
    shown.map(({ type, state_key: key }) => [type, key]),
    [
      ['m.room.create', ''],
      ['m.room.name', ''],
      ['m.room.join_rules', ''],
      ['m.room.member', bob],
    ],
  );
});

test('those concerned by an event wake, and nobody else', async (t) => {
  const home = household(t);
  const roomId = await home.createRoom();
  await home.db.committed();
  const woken: string[][] = [];
  home.db.subscribe((_now, keys) => woken.push([...keys].sort()));
  await home.send(roomId, draft.member(alice, bob, 'invite'));
  await home.db.committed();
  await home.send(roomId, draft.message(alice, 'Hello'));
  await home.db.committed();
  await assert.rejects(home.send(roomId, draft.message(carol, 'Hello')));
  await home.db.committed();
  assert.deepEqual(woken.slice(0, 2), [[`room:${roomId}`, `user:${bob}`].sort(), [`room:${roomId}`]]);
  assert.deepEqual(woken.slice(2).flat(), []);
});
