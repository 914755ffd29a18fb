import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { onNetwork } from '../kit/test-network.ts';
import { untilAgreed, untilInvited, untilMember } from './room-view.ts';

test(
  'a space shows the rooms that its members may find, on whichever server they are',
  onNetwork(['home.test', 'away.test'], async ([home, away]) => {
    const alice = await home.register('alice');
    const bob = await away.register('bob');
    const space = await alice.createRoom({
      preset: 'private_chat',
      name: 'Village',
      creation_content: { type: 'm.space' },
      invite: [bob.userId],
    });
    const mayEnter = (allowed: string): Json => ({
      type: 'm.room.join_rules',
      content: { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: allowed }] },
    });
    const square = await alice.createRoom({ preset: 'public_chat', name: 'Square' });
    const barn = await alice.createRoom({ preset: 'private_chat', name: 'Barn', initial_state: [mayEnter(space)] });
    const attic = await alice.createRoom({ preset: 'private_chat', name: 'Attic' });
    const quarter = await alice.createRoom({
      preset: 'public_chat',
      name: 'Quarter',
      creation_content: { type: 'm.space' },
    });
    const inn = await alice.createRoom({ preset: 'public_chat', name: 'Inn' });
    const forge = await bob.createRoom({ preset: 'public_chat', name: 'Forge' });
    const add = (parent: string, child: string, via: string, more: Json = {}): Promise<string> =>
      alice.setState(parent, 'm.space.child', { via: [via], ...more }, child);
    await add(space, square, 'home.test', { order: 'a' });
    await add(space, barn, 'home.test', { order: 'b' });
    await add(space, attic, 'home.test', { order: 'c' });
    await add(space, forge, 'away.test', { order: 'd', suggested: true });
    await add(space, quarter, 'home.test', { order: 'e' });
    await add(quarter, inn, 'home.test');
    await untilInvited(bob, space);
    await bob.join(space);
    await untilMember([alice, bob], space, bob.userId, 'join');
    await untilAgreed([alice, bob], space);

    const names = async (who: TestClient, query: Record<string, string | number | boolean> = {}): Promise<string[]> => {
      const path = `/_matrix/client/v1/rooms/${encodeURIComponent(space)}/hierarchy`;
      return expectOk(await who.get(path, query)).rooms.map(({ name }: Json) => name);
    };
    assert.deepEqual(await names(bob), ['Village', 'Square', 'Barn', 'Forge', 'Quarter', 'Inn']);
    assert.deepEqual(await names(alice), ['Village', 'Square', 'Barn', 'Attic', 'Forge', 'Quarter', 'Inn']);
    assert.deepEqual(await names(bob, { suggested_only: true }), ['Village', 'Forge']);
    assert.deepEqual(await names(bob, { max_depth: 1 }), ['Village', 'Square', 'Barn', 'Forge', 'Quarter']);
    // What is seen can be entered.
    expectOk(await bob.post(`/_matrix/client/v3/join/${encodeURIComponent(barn)}?via=home.test`));
    await untilMember([alice, bob], barn, bob.userId, 'join');
    expectOk(await alice.post(`/_matrix/client/v3/join/${encodeURIComponent(forge)}?via=away.test`));
    await untilMember([alice, bob], forge, alice.userId, 'join');
  }),
);
