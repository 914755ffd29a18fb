import assert from 'node:assert/strict';
import { expectError, expectOk } from '../kit/test-client.ts';
import { eventually } from '../kit/test-network.ts';
import { agree, follows, hears, joinVia, makePair, path, recent, said, seesMembership } from './pair.ts';

const story = makePair(import.meta.filename);

story('somebody joins a room of another server by its alias, and both talk', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({ preset: 'public_chat', room_alias_name: `garden-${tag}`, name: 'Garden' });
  await alice.send(roomId, 'Is anybody there?');
  assert.equal(await bob.join(`#garden-${tag}:${home.serverName}`), roomId);
  await seesMembership(alice, roomId, bob.userId, 'join');
  await alice.send(roomId, 'Welcome!');
  await hears(bob, roomId, 'Welcome!');
  await bob.send(roomId, 'Nice to be here');
  await hears(alice, roomId, 'Nice to be here');
  const all = ['Is anybody there?', 'Welcome!', 'Nice to be here'];
  assert.deepEqual(await said(alice, roomId), all);
  assert.deepEqual(await said(bob, roomId), all);
});

story('an invitation reaches somebody on another server, who accepts it', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({ preset: 'private_chat', name: 'Kitchen', topic: 'What to cook' });
  await alice.invite(roomId, bob.userId);
  const invited = await follows(bob, 'the invitation', (answer) => answer.rooms?.invite?.[roomId]);
  const shown = new Map(
    invited.invite_state.events.map((event: { type: string; content: unknown }) => [event.type, event.content]),
  );
  assert.deepEqual(shown.get('m.room.name'), { name: 'Kitchen' });
  await bob.join(roomId);
  await seesMembership(alice, roomId, bob.userId, 'join');
  await bob.send(roomId, 'Soup?');
  await hears(alice, roomId, 'Soup?');
});

story('what is redacted is gone on both servers', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  await joinVia(bob, roomId, home);
  const slips = [await alice.send(roomId, 'alice’s slip'), await bob.send(roomId, 'bob’s slip')];
  await hears(bob, roomId, 'alice’s slip');
  await hears(alice, roomId, 'bob’s slip');
  // The room's maker may redact what others say, everybody their own.
  for (const [index, eventId] of slips.entries()) {
    expectOk(await alice.put(path`/rooms/${roomId}/redact/${eventId}/r${String(index)}`, { reason: 'a slip' }));
    for (const who of [alice, bob]) {
      await eventually(`${who.userId} no longer reads it`, async () => {
        const event = (await recent(who, roomId)).find((each) => each.event_id === eventId);
        return event !== undefined && event.content.body === undefined && event.unsigned.redacted_because !== undefined;
      });
    }
  }
});

story('name, topic and powers of a room are the same on both servers', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({ preset: 'public_chat', name: 'Hall', topic: 'Where all meet' });
  await joinVia(bob, roomId, home);
  for (const type of [
    'm.room.create',
    'm.room.name',
    'm.room.topic',
    'm.room.join_rules',
    'm.room.history_visibility',
  ]) {
    assert.ok((await agree([alice, bob], roomId, type)) !== undefined);
  }
  expectError(await bob.put(path`/rooms/${roomId}/state/m.room.topic/`, { topic: 'Mine' }), 403, 'M_FORBIDDEN');
  const powers = await agree([alice, bob], roomId, 'm.room.power_levels');
  await alice.setState(roomId, 'm.room.power_levels', { ...powers, users: { ...powers.users, [bob.userId]: 50 } });
  await eventually('Bob may set the topic', async () => {
    const { users } = await agree([alice, bob], roomId, 'm.room.power_levels');
    return users[bob.userId] === 50;
  });
  await bob.setState(roomId, 'm.room.topic', { topic: 'Where all met' });
  await eventually('the new topic', async () => {
    const { topic } = await agree([alice, bob], roomId, 'm.room.topic');
    return topic === 'Where all met';
  });
});

story('both change a room at the same moment, and agree in the end', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({
    preset: 'public_chat',
    power_level_content_override: { events: { 'm.room.topic': 0, 'm.room.name': 0 } },
  });
  await joinVia(bob, roomId, home);
  await seesMembership(alice, roomId, bob.userId, 'join');
  for (let round = 0; round < 5; round += 1) {
    await Promise.all(
      [alice, bob].flatMap((who) => [
        who.setState(roomId, 'm.room.topic', { topic: `${who.userId} ${round}` }),
        who.setState(roomId, 'm.room.name', { name: `${who.userId} ${round}` }),
      ]),
    );
  }
  await Promise.all([alice.send(roomId, 'alice is done'), bob.send(roomId, 'bob is done')]);
  for (const who of [alice, bob]) for (const name of ['alice', 'bob']) await hears(who, roomId, `${name} is done`);
  for (const type of ['m.room.topic', 'm.room.name']) assert.ok(await agree([alice, bob], roomId, type));
});

story('edits, reactions and answers in a thread are known on the other server', async ({ home, away, tag }) => {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  await joinVia(bob, roomId, home);
  const eventId = await alice.send(roomId, 'helo');
  await hears(bob, roomId, 'helo');
  await bob.send(roomId, { 'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key: '👍' } }, 'm.reaction');
  await bob.send(roomId, {
    msgtype: 'm.text',
    body: 'in a thread',
    'm.relates_to': { rel_type: 'm.thread', event_id: eventId },
  });
  const better = { msgtype: 'm.text', body: 'hello' };
  await alice.send(roomId, {
    msgtype: 'm.text',
    body: '* hello',
    'm.new_content': better,
    'm.relates_to': { rel_type: 'm.replace', event_id: eventId },
  });
  for (const who of [alice, bob]) {
    const event = await eventually(`${who.userId} sees all three`, async () => {
      const { unsigned, ...rest } = expectOk(await who.get(path`/rooms/${roomId}/event/${eventId}`));
      const relations = unsigned?.['m.relations'] ?? {};
      return relations['m.replace'] !== undefined && relations['m.thread'] !== undefined
        ? { ...rest, relations }
        : false;
    });
    assert.deepEqual(event.relations['m.replace'].content['m.new_content'], better);
    assert.equal(event.relations['m.thread'].count, 1);
    const reactions = `/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/relations/${encodeURIComponent(eventId)}/m.annotation`;
    await eventually('the reaction', async () => expectOk(await who.get(reactions)).chunk.length === 1);
  }
});
