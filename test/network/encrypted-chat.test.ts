import '../clients/quiet-sdk.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Preset } from 'matrix-js-sdk';
import { Person, type Reachable } from '../clients/person.ts';
import { eventually, onNetwork } from '../kit/test-network.ts';
import type { TestServer } from '../kit/test-server.ts';

const MESSAGE = 'm.room.message';

/** A server that stays where it is. */
function staying(server: TestServer): Reachable {
  return { baseUrl: server.baseUrl, isUp: true, up: async () => {} };
}

test(
  'two people on two servers talk in an encrypted room, over a cut and with a device that comes later',
  onNetwork(['home.test', 'away.test'], async ([home, away], network) => {
    const people: Person[] = [];
    const enter = async (person: Promise<Person>): Promise<Person> => {
      people.push(await person);
      return person;
    };
    try {
      const ann = await enter(Person.register(staying(home), 'ann'));
      const bob = await enter(Person.register(staying(away), 'bob'));
      const { room_id: roomId } = await ann.client.createRoom({
        preset: Preset.TrustedPrivateChat,
        invite: [bob.userId],
        initial_state: [{ type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
      });
      await bob.until('the invitation', () => bob.client.getRoom(roomId)?.getMyMembership() === 'invite');
      await bob.client.joinRoom(roomId);
      const untilKnown = async (person: Person, devicesOfBob: number): Promise<void> => {
        await person.until('both in the room', () => person.client.getRoom(roomId)?.getJoinedMemberCount() === 2);
        await eventually('all devices are known', async () => {
          const devices = await person.client.getCrypto()?.getUserDeviceInfo([ann.userId, bob.userId], true);
          return devices?.get(ann.userId)?.size === 1 && devices.get(bob.userId)?.size === devicesOfBob;
        });
      };
      for (const person of people) await untilKnown(person, 1);

      const said: string[] = [];
      const say = async (person: Person, body: string): Promise<void> => {
        await person.send(roomId, MESSAGE, { msgtype: 'm.text', body });
        said.push(body);
      };
      const untilRead = async (readers: readonly Person[], bodies: readonly string[]): Promise<void> => {
        for (const reader of readers) {
          await reader.until(bodies.at(-1) ?? '', () => {
            const read = reader
              .messages(roomId)
              .filter((event) => !event.isDecryptionFailure())
              .map((event) => event.getContent()['body']);
            return bodies.every((body) => read.includes(body));
          });
          assert.ok(reader.messages(roomId).every((event) => event.isEncrypted()));
        }
      };
      await say(ann, 'Can anybody read this?');
      await untilRead([ann, bob], said);
      await say(bob, 'Only you');
      await untilRead([ann, bob], said);

      // The keys are sent while nobody can hear them: they come afterwards, before anything else.
      network.cut(home, away);
      for (let count = 0; count < 10; count += 1) {
        await say(ann, `ann ${count}`);
        await say(bob, `bob ${count}`);
      }
      network.mendAll();
      await untilRead([ann, bob], said);

      const before = said.length;
      const tablet = await enter(Person.logIn(staying(away), 'bob'));
      for (const person of people) await untilKnown(person, 2);
      await say(ann, 'For your tablet as well');
      await say(bob, 'Nice');
      await untilRead([ann, bob], said);
      await untilRead([tablet], said.slice(before));
    } finally {
      for (const person of people) person.stop();
    }
  }),
);
