import './quiet-sdk.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Preset } from 'matrix-js-sdk';
import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { Person, type SecretKeys } from './person.ts';
import { ServerProcess } from './server-process.ts';

const MESSAGE = 'm.room.message';

test('who logs out of their last device reads it all with the next: from the backup, and from the dehydrated device', async (t) => {
  await using server = await ServerProcess.start();
  const onPaper: SecretKeys = new Map();
  const bob = await Person.register(server, 'bob');
  const phone = await Person.register(server, 'ann', onPaper);
  const everybody = [bob, phone];
  t.after(() => everybody.forEach((person) => person.stop()));

  const crypto = phone.client.getCrypto();
  assert.ok(crypto !== undefined);
  await crypto.bootstrapCrossSigning({
    authUploadDeviceSigningKeys: async (upload) => {
      await upload(null);
    },
  });
  await crypto.bootstrapSecretStorage({
    createSecretStorageKey: () => crypto.createRecoveryKeyFromPassphrase(),
    setupNewSecretStorage: true,
    setupNewKeyBackup: true,
  });
  await crypto.checkKeyBackupAndEnable();
  assert.ok(await crypto.isDehydrationSupported());
  await crypto.startDehydration();

  const { room_id: roomId } = await bob.client.createRoom({
    preset: Preset.TrustedPrivateChat,
    invite: [phone.userId],
    initial_state: [{ type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
  });
  await phone.until('the invitation', () => phone.client.getRoom(roomId)?.getMyMembership() === 'invite');
  await phone.client.joinRoom(roomId);
  for (const person of everybody) {
    await person.until('both in the room', () => person.client.getRoom(roomId)?.getJoinedMemberCount() === 2);
  }
  await bob.until('the phone and the dehydrated device', async () => {
    const devices = await bob.client.getCrypto()?.getUserDeviceInfo([phone.userId], true);
    return devices?.get(phone.userId)?.size === 2;
  });

  const say = (body: string): Promise<string> => bob.send(roomId, MESSAGE, { msgtype: 'm.text', body });
  const readOn = (person: Person): string[] =>
    person.messages(roomId).map((event) => String(event.getContent()['body']));
  const backedUp = Promise.withResolvers<void>();
  phone.client.on(CryptoEvent.KeyBackupSessionsRemaining, (left) => {
    if (left === 0) backedUp.resolve();
  });
  await say('while the phone is there');
  await phone.until('the message', () => readOn(phone).includes('while the phone is there'));
  await backedUp.promise;
  await phone.client.logout(true);
  phone.stop();
  // The next message is to have a key that no backup has.
  await bob.client.getCrypto()?.forceDiscardSession(roomId);
  await bob.until('one device left', async () => {
    const devices = await bob.client.getCrypto()?.getUserDeviceInfo([phone.userId], true);
    return devices?.get(phone.userId)?.size === 1;
  });
  await say('while nobody is there');

  const tablet = await Person.logIn(server, 'ann', onPaper);
  everybody.push(tablet);
  const later = tablet.client.getCrypto();
  assert.ok(later !== undefined);
  await tablet.until('the messages', () => tablet.client.getRoom(roomId) !== null && readOn(tablet).length === 2);
  assert.ok(await later.userHasCrossSigningKeys(tablet.userId, true));
  await later.bootstrapCrossSigning({});
  await later.loadSessionBackupPrivateKeyFromSecretStorage();
  const { imported } = await later.restoreKeyBackup();
  assert.ok(imported > 0);
  await tablet.until('what was said before', () => readOn(tablet).includes('while the phone is there'));
  assert.ok(!readOn(tablet).includes('while nobody is there'));
  await later.startDehydration();
  await tablet.until('what was said meanwhile', () => readOn(tablet).includes('while nobody is there'));
});
