import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { parsePdu } from '../../server/matrix/events/parse.ts';
import { signPdu } from '../../server/matrix/events/sign.ts';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import type { JsonObject } from '../../server/matrix/json.ts';
import { signaturesOf, signingKeyFromSeed } from '../../server/matrix/signing.ts';
import type { EventDraft } from '../../server/rooms/types.ts';
import { systemRandom } from '../../server/util/random.ts';
import {
  alice,
  AWAY,
  bob,
  dora,
  FAR,
  fred,
  house,
  type House,
  member,
  type Play,
  refusal,
  unreachable,
} from './remote-kit.ts';
import { message, pdusOf, PeerRoom, said, state } from './peer-room.ts';
import { phone } from './room-kit.ts';

const policyKey = signingKeyFromSeed(systemRandom.bytes(32), 'policy_server');
const otherKey = signingKeyFromSeed(systemRandom.bytes(32), 'policy_server');

function policyOf(key = policyKey): JsonObject {
  return { via: FAR, public_keys: { ed25519: key.publicKeyBase64 } };
}

/** Fred's server recommends what is not called spam. */
const guard: Play = ({ server, request }) => {
  if (request.path !== '/_matrix/policy/v1/sign') return undefined;
  assert.equal(server, FAR);
  assert.ok(request.body);
  if (JSON.stringify(request.body['content']).includes('spam')) {
    throw refusal(FAR, 400, 'M_FORBIDDEN', { error: 'This appears to be spam' });
  }
  const { signatures: _signatures, ...bare } = request.body;
  const parsed = parsePdu(request.body, room.version);
  assert.ok(parsed.ok);
  const signed = signPdu(bare, room.version, FAR, policyKey);
  const [signature] = signaturesOf(signed, FAR);
  return { [FAR]: { [policyKey.keyId]: signature?.signature ?? '' } };
};

const room = new PeerRoom();
const set = room.add(state(alice, 'm.room.policy', policyOf()));

/** A house in a room that is guarded. */
async function guarded(t: TestContext, play: Play = guard): Promise<House> {
  const home = house(t, play);
  await room.enter(home.rooms);
  await deliver(home, [set]);
  assert.deepEqual(home.asked, []);
  return home;
}

async function deliver({ rooms }: House, events: readonly RoomEvent[]): Promise<void> {
  await rooms.taker.receive(AWAY, pdusOf(events));
  await rooms.taker.idle();
}

function verdictOf({ rooms }: House, { eventId }: RoomEvent): string | undefined {
  return rooms.events.findEvent(eventId)?.verdict;
}

function say(body: string): EventDraft {
  return { ...message(alice, body), content: { msgtype: 'm.text', body }, roomId: room.roomId };
}

function hasSignature(event: RoomEvent | undefined): boolean {
  return event !== undefined && signaturesOf(event.pdu, FAR).some(({ keyId }) => keyId === policyKey.keyId);
}

test('an event that came without a recommendation gets one, and keeps it', async (t) => {
  const home = await guarded(t);
  const event = room.add(message(dora, 'hello'), { after: [set] });
  await deliver(home, [event]);
  assert.equal(verdictOf(home, event), 'accepted');
  assert.equal(home.asked.length, 1);
  assert.ok(hasSignature(home.rooms.events.findEvent(event.eventId)));
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('an event that bears the recommendation needs nobody to be asked', async (t) => {
  const home = await guarded(t, () => undefined);
  const event = room.add(message(dora, 'hello'), { after: [set] });
  const pdu = signPdu(event.pdu, event.version, FAR, policyKey);
  await home.rooms.taker.receive(AWAY, [pdu]);
  await home.rooms.taker.idle();
  assert.equal(verdictOf(home, event), 'accepted');
  assert.deepEqual(home.asked, []);
});

test('an event that is not recommended, for whatever reason, is soft-failed', async (t) => {
  const answers: Record<string, Play> = {
    refused: guard,
    'not reached': () => {
      throw unreachable(FAR);
    },
    'no policy server': () => undefined,
    'no signature': () => ({}),
    'a signature of another key': ({ request }) => {
      const signed = signPdu(request.body ?? {}, room.version, FAR, otherKey);
      const [signature] = signaturesOf(signed, FAR).filter(({ keyId }) => keyId === otherKey.keyId);
      return { [FAR]: { [otherKey.keyId]: signature?.signature ?? '' } };
    },
  };
  for (const [reason, play] of Object.entries(answers)) {
    const home = await guarded(t, play);
    const event = room.add(message(dora, 'spam'), { after: [set] });
    const after = room.add(message(dora, 'and more spam'), { after: [event] });
    await deliver(home, [event, after]);
    assert.equal(verdictOf(home, event), 'soft-failed', reason);
    assert.equal(verdictOf(home, after), 'soft-failed', reason);
    assert.deepEqual(said(home.rooms, room.roomId), []);
  }
});

test('what breaks the rules of the room is rejected, whatever the policy server says', async (t) => {
  const home = await guarded(t);
  const event = room.add(state(fred, 'm.room.power_levels', { users: { [fred]: 100 } }), { after: [set] });
  await deliver(home, [event]);
  assert.equal(verdictOf(home, event), 'rejected');
});

test('the policy server cannot keep a room from leaving it', async (t) => {
  const home = await guarded(t, () => {
    throw unreachable(FAR);
  });
  const free = { roomId: room.roomId, type: 'm.room.policy', sender: alice, content: {}, stateKey: '' };
  await assert.rejects(home.rooms.sender.send({ ...free, stateKey: 'another' }), { errcode: 'M_UNKNOWN', status: 503 });
  const freed = await home.rooms.sender.send(free);
  assert.equal(freed.verdict, 'accepted');
  await home.rooms.sender.send(say('at last'));
  assert.deepEqual(said(home.rooms, room.roomId), ['at last']);
});

test('a policy server without anybody in the room, or without a key, is none', async (t) => {
  for (const content of [
    { via: 'elsewhere.test', public_keys: { ed25519: policyKey.publicKeyBase64 } },
    { via: FAR, public_keys: {} },
    { via: FAR, public_keys: { ed25519: 7 } },
    { via: FAR },
    { via: 'not a server', public_keys: { ed25519: policyKey.publicKeyBase64 } },
    { public_keys: { ed25519: policyKey.publicKeyBase64 } },
  ]) {
    const home = house(t, () => undefined);
    const open = new PeerRoom();
    await open.enter(home.rooms);
    open.add(state(alice, 'm.room.policy', content));
    const event = open.add(message(dora, 'hello'));
    await deliver(home, [open.holder('m.room.policy'), event]);
    assert.equal(verdictOf(home, event), 'accepted', JSON.stringify(content));
    assert.deepEqual(home.asked, []);
  }
  const home = await guarded(t);
  const kick = room.add(member(fred, 'leave', fred), { after: [set] });
  const event = room.add(message(dora, 'spam'), { after: [kick] });
  await deliver(home, [kick]);
  await deliver(home, [event]);
  assert.equal(verdictOf(home, event), 'accepted');
});

test('what people here say is recommended before anybody sees it', async (t) => {
  const home = await guarded(t);
  const sent = await home.rooms.sender.send(say('hello'));
  assert.equal(home.asked.length, 1);
  assert.ok(hasSignature(sent));
  assert.ok(hasSignature((await home.reopen()).rooms.events.findEvent(sent.eventId)));
});

test('what is refused is refused in the words of the policy server, and leaves no trace', async (t) => {
  const home = await guarded(t);
  const before = home.db.position();
  await assert.rejects(home.rooms.sender.send(say('spam')), {
    errcode: 'M_FORBIDDEN',
    message: 'This appears to be spam',
    status: 400,
  });
  assert.equal(home.db.position(), before);
  assert.deepEqual(said(home.rooms, room.roomId), []);
});

test('what the room itself forbids is not even shown to the policy server', async (t) => {
  const home = await guarded(t);
  await assert.rejects(home.rooms.sender.send({ ...say('hello'), sender: bob }), { errcode: 'M_FORBIDDEN' });
  assert.deepEqual(home.asked, []);
});

test('a policy server cannot make a client believe that it was logged out', async (t) => {
  const home = await guarded(t, () => {
    throw refusal(FAR, 401, 'M_UNKNOWN_TOKEN', { soft_logout: true });
  });
  await assert.rejects(home.rooms.sender.send(say('hello')), (error: unknown) => {
    assert.ok(error instanceof Error && 'errcode' in error && 'fields' in error && 'status' in error);
    assert.deepEqual([error.errcode, error.fields, error.status], ['M_FORBIDDEN', {}, undefined]);
    return true;
  });
});

test('the room may move on while the policy server thinks', async (t) => {
  let answer: (() => void) | undefined;
  const thinking = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const home = await guarded(t, async (asked) => {
    if (JSON.stringify(asked.request.body).includes('"slow"')) await thinking;
    return guard(asked);
  });
  const slow = home.rooms.sender.send(say('slow'));
  const twice = { transaction: { deviceId: phone, transactionId: '1' } };
  const [one, other] = await Promise.all([
    home.rooms.sender.send(say('quick'), twice),
    home.rooms.sender.send(say('quick'), twice),
  ]);
  assert.equal(one.eventId, other.eventId);
  answer?.();
  assert.equal((await slow).verdict, 'accepted');
  assert.deepEqual(new Set(said(home.rooms, room.roomId)), new Set(['slow', 'quick']));
  const next = await home.rooms.sender.send(say('next'));
  assert.equal(next.prevEvents.length, 2);
  assert.deepEqual(home.rooms.checkConsistency(), []);
});

test('a policy server may be asked about many events at once, and about each only once', async (t) => {
  const home = await guarded(t);
  const events = Array.from({ length: 30 }, (_, turn) =>
    room.add(message(dora, `${turn}`), turn === 0 ? { after: [set] } : {}),
  );
  await Promise.all([deliver(home, events), deliver(home, events)]);
  assert.deepEqual(
    said(home.rooms, room.roomId),
    events.map((_, turn) => `${turn}`),
  );
  assert.equal(home.asked.length, 30);
});
