import '../clients/quiet-sdk.ts';
import assert from 'node:assert/strict';
import { Preset } from 'matrix-js-sdk';
import { Person } from '../clients/person.ts';
import { makePair } from './pair.ts';

const story = makePair(import.meta.filename);

const MESSAGE = 'm.room.message';

story('two people on two servers talk in a room nobody else can read', async ({ home, away, tag }) => {
  const ann = await Person.register(home, `ann-${tag}`);
  const bob = await Person.register(away, `bob-${tag}`);
  const everybody = [ann, bob];
  try {
    for (const person of everybody) {
      await person.client.getCrypto()?.bootstrapCrossSigning({
        authUploadDeviceSigningKeys: async (makeRequest) => {
          const auth = {
            type: 'm.login.password',
            identifier: { type: 'm.id.user', user: person.userId },
            password: `password of ${person.userId.slice(1, person.userId.indexOf(':'))}`,
          };
          await makeRequest(null).catch(async (error: { data?: { session?: string } }) => {
            await makeRequest({ ...auth, session: error.data?.session ?? '' });
          });
        },
      });
    }
    const { room_id: roomId } = await ann.client.createRoom({
      preset: Preset.TrustedPrivateChat,
      invite: [bob.userId],
      initial_state: [{ type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
    });
    await bob.until('the invitation', () => bob.client.getRoom(roomId)?.getMyMembership() === 'invite');
    await bob.client.joinRoom(roomId);
    const knowEachOther = async (devicesOfBob: number): Promise<void> => {
      for (const person of everybody) {
        await person.until('everybody’s keys', async () => {
          if (person.client.getRoom(roomId)?.getJoinedMemberCount() !== 2) return false;
          const devices = await person.client.getCrypto()?.getUserDeviceInfo([ann.userId, bob.userId], true);
          return devices?.get(ann.userId)?.size === 1 && devices.get(bob.userId)?.size === devicesOfBob;
        });
      }
    };
    const reads = async (person: Person, body: string): Promise<void> => {
      const event = await person.until(`"${body}"`, () =>
        person.messages(roomId).find((message) => message.getContent()['body'] === body),
      );
      assert.ok(event.isEncrypted());
    };
    await knowEachOther(1);
    for (const [one, other] of [
      [ann, bob],
      [bob, ann],
    ] as const) {
      for (const index of [1, 2, 3]) {
        const body = `${one.userId} ${index}`;
        await one.send(roomId, MESSAGE, { msgtype: 'm.text', body });
        await reads(other, body);
      }
    }
    const status = await bob.client
      .getCrypto()
      ?.getDeviceVerificationStatus(ann.userId, ann.client.getDeviceId() ?? '');
    assert.equal(status?.signedByOwner, true, 'Bob’s client sees that Ann signed her device');

    // A device that comes later is heard of on the other server, which hands it what is said from then on.
    const tablet = await Person.logIn(away, `bob-${tag}`);
    everybody.push(tablet);
    await knowEachOther(2);
    await ann.send(roomId, MESSAGE, { msgtype: 'm.text', body: 'for your tablet, too' });
    await reads(tablet, 'for your tablet, too');
    await reads(bob, 'for your tablet, too');
  } finally {
    for (const person of everybody) person.stop();
  }
});
