import type { ManualClock } from '../kit/manual-clock.ts';
import type { PushGateway } from '../kit/push-gateway.ts';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import type { TestServer } from '../kit/test-server.ts';

export async function setPusher(who: TestClient, pusher: Json): Promise<void> {
  expectOk(await who.post('/_matrix/client/v3/pushers/set', pusher));
}

export async function listPushers(who: TestClient): Promise<readonly Json[]> {
  return expectOk(await who.get('/_matrix/client/v3/pushers')).pushers;
}

/** The push keys somebody has pushers for. */
export async function keysOf(who: TestClient): Promise<readonly string[]> {
  return (await listPushers(who)).map(({ pushkey }) => pushkey);
}

export async function read(who: TestClient, roomId: string, eventId: string): Promise<void> {
  const room = encodeURIComponent(roomId);
  expectOk(await who.post(`/_matrix/client/v3/rooms/${room}/receipt/m.read/${encodeURIComponent(eventId)}`));
}

/** Ann and Bob in a private room of theirs; what Bob says there rings at the gateway, if one is given. */
export async function pair(
  server: TestServer,
  gateway?: PushGateway,
  more: Json = {},
): Promise<{ ann: TestClient; bob: TestClient; room: string }> {
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  const room = await ann.createRoom({ preset: 'private_chat', invite: [bob.userId] });
  await bob.join(room);
  if (gateway !== undefined) await setPusher(ann, gateway.pusher('phone', more));
  return { ann, bob, room };
}

/** What is real gets this long in each step, ms: requests must not time out on the clock before they had a chance. */
const REAL_MS = 20;

/** Lets time pass, a step after the other, until something real has come of it. */
export async function passUntil(clock: ManualClock, isDone: () => boolean, stepMs = 60_000): Promise<void> {
  for (let steps = 0; !isDone(); steps += 1) {
    if (steps > 2_000) throw new Error('however long one waits, it does not happen');
    await clock.advance(stepMs);
    await new Promise((resolve) => setTimeout(resolve, REAL_MS));
  }
}
