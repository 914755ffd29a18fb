import './quiet-sdk.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventTimeline, Preset } from 'matrix-js-sdk';
import { Person } from './person.ts';
import { ServerProcess } from './server-process.ts';

test('what was said to Bob while his client was closed, also by a device he had never met, he reads when he is back', async (t) => {
  await using server = await ServerProcess.start();
  const ann = await Person.register(server, 'ann');
  let bob = await Person.register(server, 'bob');
  const open = new Set([ann, bob]);
  t.after(() => open.forEach((person) => person.stop()));

  const { room_id: roomId } = await ann.client.createRoom({
    preset: Preset.PublicChat,
    initial_state: [{ type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
  });
  await bob.client.joinRoom(roomId);
  /** Waits until somebody can write for both: knows them to be in the room, and their devices. */
  const meets = async (person: Person, devices: number): Promise<void> => {
    await person.until('both in the room', () => person.client.getRoom(roomId)?.getJoinedMemberCount() === 2);
    await person.until('the devices of both', async () => {
      const known = await person.client.getCrypto()?.getUserDeviceInfo([ann.userId, bob.userId], true);
      return (known?.get(ann.userId)?.size ?? 0) + (known?.get(bob.userId)?.size ?? 0) === devices;
    });
  };
  const said: string[] = [];
  const say = async (person: Person, body: string): Promise<void> => {
    await person.send(roomId, 'm.room.message', { msgtype: 'm.text', body });
    said.push(body);
  };
  for (const person of [ann, bob]) await meets(person, 2);
  await say(ann, 'before');
  await bob.until('the first message', () =>
    bob.messages(roomId).some((event) => event.getContent()['body'] === 'before'),
  );
  open.delete(bob);
  bob.stop();

  // Each of these is in a new session, the key of which waits for Bob with the server.
  const crypto = ann.client.getCrypto();
  for (let n = 1; n <= 120; n += 1) {
    await crypto?.forceDiscardSession(roomId);
    await say(ann, `ann ${n}`);
  }
  await server.kill();
  await server.begin();
  const tablet = await Person.logIn(server, 'ann');
  open.add(tablet);
  await meets(tablet, 3);
  for (let n = 1; n <= 10; n += 1) await say(tablet, `tablet ${n}`);

  bob = await bob.restarted();
  open.add(bob);
  const timeline = bob.room(roomId).getLiveTimeline();
  assert.ok(timeline.getEvents().length < 30, 'the first sync shows the end of the conversation only');
  while (timeline.getPaginationToken(EventTimeline.BACKWARDS) !== null) {
    await bob.client.scrollback(bob.room(roomId), 40);
  }
  const read = await bob.until('all of it', () => {
    const events = bob.messages(roomId).filter((event) => !event.isDecryptionFailure());
    return events.length === said.length && events;
  });
  assert.deepEqual(
    read.map((event) => event.getContent()['body']),
    said,
  );
});
