import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { makeAuthority } from '../kit/certificates.ts';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { eventually } from '../kit/test-network.ts';
import { Homeserver, type Kind } from './homeserver.ts';
import { runsDir } from './places.ts';
import { setUpHearth, setUpSynapse } from './setups.ts';

/** Two servers of different makes. A story is told from the first to the second. */
export interface Pair {
  readonly home: Homeserver;
  readonly away: Homeserver;
  /** A word that is in no other story's: for user names and aliases. */
  readonly tag: string;
}

/**
 * Starts a Hearth and a Synapse for the stories of this file, and gives a function that tells a story both ways: with
 * Hearth at home and Synapse away, and the reverse. What Synapse cannot do in one of these places is told one way.
 */
export function makePair(file: string) {
  const servers: { hearth?: Homeserver; synapse?: Homeserver } = {};
  let stories = 0;
  before(async () => {
    const authority = await makeAuthority();
    const dir = join(runsDir, basename(file).replace(/\.story\.ts$/, ''));
    // What an earlier run left behind belongs to servers of other names.
    rmSync(dir, { recursive: true, force: true });
    const hearth = Homeserver.start(() => setUpHearth({ authority, dir: join(dir, 'hearth'), host: 'localhost' }));
    const synapse = Homeserver.start(() => setUpSynapse({ authority, dir: join(dir, 'synapse'), host: '127.0.0.1' }));
    // One that has started is stopped afterwards, also where the other has not.
    const outcomes = await Promise.allSettled([
      hearth.then((server) => Object.assign(servers, { hearth: server })),
      synapse.then((server) => Object.assign(servers, { synapse: server })),
    ]);
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  });
  after(async () => {
    await Promise.all([servers.hearth?.stop(), servers.synapse?.stop()]);
  });
  return (
    sentence: string,
    tell: (pair: Pair) => Promise<void>,
    homes: readonly Kind[] = ['Hearth', 'Synapse'],
  ): void => {
    for (const kind of homes) {
      test(`${sentence} (${kind === 'Hearth' ? 'Hearth, then Synapse' : 'Synapse, then Hearth'})`, async () => {
        const { hearth, synapse } = servers;
        if (hearth === undefined || synapse === undefined) throw new Error('the servers did not start');
        stories += 1;
        const tag = `s${stories}`;
        await tell(kind === 'Hearth' ? { home: hearth, away: synapse, tag } : { home: synapse, away: hearth, tag });
      });
    }
  };
}

/** A path of the client-server API, its parameters escaped. */
export function path(parts: TemplateStringsArray, ...values: readonly string[]): string {
  return `/_matrix/client/v3${String.raw({ raw: parts.raw }, ...values.map(encodeURIComponent))}`;
}

/** The newest events of a room as this person reads them, oldest first. */
export async function recent(who: TestClient, roomId: string, limit = 50): Promise<Json[]> {
  const { chunk } = expectOk(await who.get(path`/rooms/${roomId}/messages`, { dir: 'b', limit }));
  return chunk.reverse();
}

/** What was said in the room lately, oldest first. */
export async function said(who: TestClient, roomId: string): Promise<string[]> {
  return (await recent(who, roomId))
    .filter((event) => event.type === 'm.room.message')
    .map((event) => String(event.content.body));
}

/** Waits until this person reads `body` in the room. */
export async function hears(who: TestClient, roomId: string, body: string): Promise<void> {
  await eventually(`${who.userId} reads "${body}"`, async () => (await said(who, roomId)).includes(body));
}

/** Waits until the membership of `userId` is this, as `who` sees it. */
export async function seesMembership(
  who: TestClient,
  roomId: string,
  userId: string,
  membership: string,
): Promise<Json> {
  return await eventually(`${who.userId} sees ${userId}: ${membership}`, async () => {
    const { status, body } = await who.get(path`/rooms/${roomId}/state/m.room.member/${userId}`);
    return status === 200 && body.membership === membership ? body : undefined;
  });
}

/** Follows somebody's /sync until `look` finds something in an answer. */
export async function follows<Found>(
  who: TestClient,
  what: string,
  look: (answer: Json) => Found | undefined | false,
  since?: string,
): Promise<Found> {
  let token = since;
  return await eventually(`${who.userId} hears of ${what}`, async () => {
    const answer = await who.sync({
      timeout: token === undefined ? 0 : 1000,
      ...(token === undefined ? {} : { since: token }),
    });
    token = answer.next_batch;
    return look(answer);
  });
}

/** A token to follow from: what happens from now on. */
export async function now(who: TestClient): Promise<string> {
  return (await who.sync()).next_batch;
}

/** Joins a room by its ID, by way of a server that is in it. */
export async function joinVia(who: TestClient, roomId: string, via: Homeserver): Promise<void> {
  expectOk(
    await who.request('POST', path`/join/${roomId}`, {
      body: {},
      query: { server_name: via.serverName, via: via.serverName },
    }),
  );
}

/** The content of a piece of the room's state as this person sees it; undefined where there is none. */
export async function stateOf(who: TestClient, roomId: string, type: string, stateKey = ''): Promise<Json> {
  const { status, body } = await who.get(path`/rooms/${roomId}/state/${type}/${stateKey}`);
  return status === 200 ? body : undefined;
}

/** Waits until all these people see the same value in the room's state, and gives it. */
export async function agree(people: readonly TestClient[], roomId: string, type: string, stateKey = ''): Promise<Json> {
  return await eventually(`all see the same ${type}`, async () => {
    const [first, ...others] = await Promise.all(people.map((who) => stateOf(who, roomId, type, stateKey)));
    return others.every((other) => isDeepStrictEqual(other, first)) ? first : undefined;
  });
}

/** Every event of the room that this person can page back to, oldest first. */
export async function everything(who: TestClient, roomId: string): Promise<Json[]> {
  const events: Json[] = [];
  let from: string | undefined;
  for (let pages = 0; ; pages += 1) {
    assert.ok(pages < 100, `${who.userId} comes to the start of the room`);
    const page = expectOk(await who.get(path`/rooms/${roomId}/messages`, { dir: 'b', limit: 100, from }));
    events.unshift(...page.chunk.reverse());
    if (page.end === undefined) return events;
    from = page.end;
  }
}
