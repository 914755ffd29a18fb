import './quiet-sdk.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MatrixError, Preset, type UIAuthCallback } from 'matrix-js-sdk';
import {
  CryptoEvent,
  decodeRecoveryKey,
  type ShowSasCallbacks,
  VerificationPhase,
  type VerificationRequest,
  VerificationRequestEvent,
  type Verifier,
  VerifierEvent,
} from 'matrix-js-sdk/lib/crypto-api/index.js';
import { TestServer } from '../kit/test-server.ts';
import { People, type Person, type SecretKeys } from './person.ts';
import { waitFor } from './waiting.ts';

const ENCRYPTED = { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } };
const EMOJI = 'm.sas.v1';

/** Lets the server have the keys of an identity, with the password where it asks for that. Tells what it was asked. */
function withPassword(person: Person, asked: string[]): UIAuthCallback<void> {
  return async (upload) => {
    try {
      await upload(null);
    } catch (error) {
      if (!(error instanceof MatrixError) || error.httpStatus !== 401) throw error;
      const { session, flows } = error.data as { session: string; flows: { stages: string[] }[] };
      asked.push(...flows.flatMap(({ stages }) => stages));
      await upload({
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: person.userId },
        password: `password of ${person.userId.slice(1, person.userId.indexOf(':'))}`,
        session,
      });
    }
  };
}

/** Makes an identity, a secret storage and a backup; gives the recovery key as it is written on paper. */
async function makeIdentity(person: Person): Promise<string> {
  await person.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: withPassword(person, []) });
  let onPaper: string | undefined;
  await person.crypto.bootstrapSecretStorage({
    createSecretStorageKey: async () => {
      const key = await person.crypto.createRecoveryKeyFromPassphrase();
      onPaper = key.encodedPrivateKey;
      return key;
    },
    setupNewSecretStorage: true,
    setupNewKeyBackup: true,
  });
  await person.crypto.checkKeyBackupAndEnable();
  assert.ok(onPaper !== undefined);
  return onPaper;
}

/** Somebody reads their recovery key from the paper on a device that has logged in, which is theirs from then on. */
async function takePaper(person: Person, secrets: SecretKeys, onPaper: string): Promise<void> {
  const { secretStorage } = person.client;
  const id = await secretStorage.getDefaultKeyId();
  assert.ok(id !== null);
  const [, info] = (await secretStorage.getKey(id)) ?? [];
  assert.ok(info !== undefined);
  const key = decodeRecoveryKey(onPaper);
  assert.ok(!(await secretStorage.checkKey(key.with(3, (key[3] ?? 0) ^ 1), info)));
  assert.ok(await secretStorage.checkKey(key, info));
  secrets.set(id, key);
  assert.ok(await person.crypto.userHasCrossSigningKeys(person.userId, true));
  await person.crypto.bootstrapCrossSigning({});
}

function phase(request: VerificationRequest, wanted: VerificationPhase): Promise<unknown> {
  return waitFor(
    `a verification never came to phase ${VerificationPhase[wanted]}`,
    (onNews) => {
      request.on(VerificationRequestEvent.Change, onNews);
      return () => request.off(VerificationRequestEvent.Change, onNews);
    },
    () => request.phase === wanted,
  );
}

function emoji(verifier: Verifier): Promise<ShowSasCallbacks> {
  return waitFor(
    'no emoji were shown',
    (onNews) => {
      verifier.on(VerifierEvent.ShowSas, onNews);
      return () => verifier.off(VerifierEvent.ShowSas, onNews);
    },
    () => verifier.getShowSasCallbacks(),
  );
}

/** The next verification that somebody's client is asked for. */
function nextRequest(person: Person): Promise<VerificationRequest> {
  return new Promise((resolve) => person.client.once(CryptoEvent.VerificationRequestReceived, resolve));
}

interface Comparison {
  readonly ends: readonly [ShowSasCallbacks, ShowSasCallbacks];
  /** How it ends on either side. */
  readonly verified: Promise<readonly PromiseSettledResult<void>[]>;
}

/** From a request to the point where both look at their emoji. */
async function showEmoji(mine: VerificationRequest, theirs: VerificationRequest): Promise<Comparison> {
  await theirs.accept();
  await phase(mine, VerificationPhase.Ready);
  const one = await mine.startVerification(EMOJI);
  const first = one.verify();
  await phase(theirs, VerificationPhase.Started);
  const other = theirs.verifier;
  assert.ok(other !== undefined);
  const verified = Promise.allSettled([first, other.verify()]);
  const ends = await Promise.all([emoji(one), emoji(other)]);
  assert.equal(ends[0].sas.emoji?.length, 7);
  assert.deepEqual(ends[0].sas, ends[1].sas);
  return { ends, verified };
}

async function compare(mine: VerificationRequest, theirs: VerificationRequest): Promise<void> {
  const { ends, verified } = await showEmoji(mine, theirs);
  await Promise.all(ends.map((end) => end.confirm()));
  assert.deepEqual(
    (await verified).map(({ status }) => status),
    ['fulfilled', 'fulfilled'],
  );
  await Promise.all([mine, theirs].map((request) => phase(request, VerificationPhase.Done)));
}

async function isTrusted(by: Person, device: Person): Promise<boolean> {
  const status = await by.crypto.getDeviceVerificationStatus(device.userId, device.deviceId);
  return status?.crossSigningVerified === true;
}

test('Ann compares emoji on her phone and her laptop, and the phone has her identity and her backup', async (t) => {
  await using server = await TestServer.start();
  using people = new People(server);
  const laptop = await people.register('ann', new Map());
  const { room_id: roomId } = await laptop.client.createRoom({ initial_state: [ENCRYPTED] });
  await laptop.until('the room', () => laptop.client.getRoom(roomId)?.hasEncryptionStateEvent());
  await laptop.send(roomId, 'm.room.message', { msgtype: 'm.text', body: 'a note to myself' });
  const onPaper = await makeIdentity(laptop);
  await laptop.until('the key in the backup', async () => (await laptop.crypto.getKeyBackupInfo())?.count === 1);

  const phone = await people.logIn('ann');
  const note = await phone.until('the note', () => phone.messages(roomId).concat(unread(phone, roomId)).at(0));
  assert.ok(!(await phone.crypto.isCrossSigningReady()), 'who only knows the password is not Ann yet');
  assert.ok(!(await isTrusted(laptop, phone)));
  await laptop.until('the keys of the phone', async () => {
    const devices = await laptop.crypto.getUserDeviceInfo([laptop.userId], true);
    return devices.get(laptop.userId)?.has(phone.deviceId);
  });

  const received = nextRequest(laptop);
  const asked = await phone.crypto.requestOwnUserVerification();
  const request = await received;
  assert.ok(request.isSelfVerification);
  await compare(asked, request);

  await laptop.until('trust in the phone', () => isTrusted(laptop, phone));
  await phone.until('trust in the laptop', () => isTrusted(phone, laptop));
  await phone.until('the keys of the identity', async () => {
    const { privateKeysCachedLocally: keys } = await phone.crypto.getCrossSigningStatus();
    return keys.masterKey && keys.selfSigningKey && keys.userSigningKey;
  });
  assert.ok(await phone.crypto.isCrossSigningReady());
  await phone.until('the key of the backup', () => phone.crypto.getSessionBackupPrivateKey());
  assert.deepEqual(
    await phone.crypto.getSessionBackupPrivateKey(),
    await laptop.crypto.getSessionBackupPrivateKey(),
    'the laptop has told it, which no paper was needed for',
  );
  assert.ok((await phone.crypto.restoreKeyBackup()).imported > 0);
  await phone.until('the text of the note', () => note.getContent()['body'] === 'a note to myself');

  await t.test('a third device has it all from the paper', async () => {
    const secrets: SecretKeys = new Map();
    const tablet = await people.logIn('ann', secrets);
    await takePaper(tablet, secrets, onPaper);
    await laptop.until('trust in the tablet', () => isTrusted(laptop, tablet));
    await tablet.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    assert.ok((await tablet.crypto.restoreKeyBackup()).imported > 0);
    await tablet.until('the note', () =>
      tablet.messages(roomId).some((event) => event.getContent()['body'] === 'a note to myself'),
    );
  });
});

/** What somebody has of a room and cannot read. */
function unread(person: Person, roomId: string): ReturnType<Person['messages']> {
  const room = person.client.getRoom(roomId);
  return (room?.getLiveTimeline().getEvents() ?? []).filter((event) => event.isEncrypted());
}

test('Ann and Bob verify each other, the second time rightly, and Bob is told when Ann begins anew', async () => {
  await using server = await TestServer.start();
  using people = new People(server);
  const [ann, bob] = await Promise.all([people.register('ann', new Map()), people.register('bob', new Map())]);
  await makeIdentity(ann);
  const bobsPaper = await makeIdentity(bob);
  const { room_id: roomId } = await ann.client.createRoom({
    preset: Preset.TrustedPrivateChat,
    invite: [bob.userId],
    initial_state: [ENCRYPTED],
  });
  await bob.until('the invitation', () => bob.client.getRoom(roomId)?.getMyMembership() === 'invite');
  await bob.client.joinRoom(roomId);
  for (const [person, other] of [
    [ann, bob],
    [bob, ann],
  ] as const) {
    await person.until('both in the room', () => person.client.getRoom(roomId)?.getJoinedMemberCount() === 2);
    await person.until('the other identity', async () => {
      await person.crypto.getUserDeviceInfo([other.userId], true);
      return (await person.crypto.getUserVerificationStatus(other.userId)).known;
    });
  }
  const ask = async (): Promise<[VerificationRequest, VerificationRequest]> => {
    const received = nextRequest(bob);
    const mine = await ann.crypto.requestVerificationDM(bob.userId, roomId);
    const theirs = await received;
    assert.equal(theirs.roomId, roomId);
    return [mine, theirs];
  };
  const knows = async (one: Person, other: Person): Promise<boolean> =>
    (await one.crypto.getUserVerificationStatus(other.userId)).isCrossSigningVerified();

  const [mine, theirs] = await ask();
  const { ends, verified } = await showEmoji(mine, theirs);
  ends[1].mismatch();
  assert.deepEqual(
    (await verified).map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  await Promise.all([mine, theirs].map((request) => phase(request, VerificationPhase.Cancelled)));
  assert.equal(mine.cancellationCode, 'm.mismatched_sas');
  assert.ok(!(await knows(ann, bob)));
  assert.ok(!(await knows(bob, ann)));

  await compare(...(await ask()));
  await ann.until('Bob verified', () => knows(ann, bob));
  await bob.until('Ann verified', () => knows(bob, ann));
  assert.ok(await isTrusted(ann, bob));

  const secrets: SecretKeys = new Map();
  const tablet = await people.logIn('bob', secrets);
  await takePaper(tablet, secrets, bobsPaper);
  await tablet.until('that Bob has verified Ann', async () => {
    await tablet.crypto.getUserDeviceInfo([ann.userId], true);
    return knows(tablet, ann);
  });
  await ann.until('that the new device is of the Bob she knows', async () => {
    await ann.crypto.getUserDeviceInfo([bob.userId], true);
    return isTrusted(ann, tablet);
  });

  const oldBackup = await ann.crypto.getActiveSessionBackupVersion();
  const asked: string[] = [];
  await ann.crypto.resetEncryption(withPassword(ann, asked));
  assert.ok(asked.includes('m.login.password'), 'an identity is replaced with the password only');
  const newBackup = await ann.crypto.getKeyBackupInfo();
  assert.ok(oldBackup !== null && newBackup?.version !== undefined && newBackup.version !== oldBackup);
  await bob.until('another Ann', async () => !(await knows(bob, ann)));
  const status = await bob.crypto.getUserVerificationStatus(ann.userId);
  assert.ok(status.wasCrossSigningVerified());
  assert.ok(!(await knows(ann, bob)), 'what the old identity had signed is not of the new one');
  // He lets it be for now, and then they do it once more.
  await bob.crypto.withdrawVerificationRequirement(ann.userId);
  assert.ok(!(await bob.crypto.getUserVerificationStatus(ann.userId)).wasCrossSigningVerified());
  await compare(...(await ask()));
  await bob.until('the new Ann verified', () => knows(bob, ann));
  await ann.until('Bob verified', () => knows(ann, bob));
});
