import assert from 'node:assert/strict';
import { test } from 'node:test';
import { federationPath } from '../../server/federation/path.ts';
import { completeTemplate } from '../../server/matrix/events/build.ts';
import type { RoomEvent } from '../../server/matrix/events/event.ts';
import type { JsonObject, JsonValue } from '../../server/matrix/json.ts';
import { systemRandom } from '../../server/util/random.ts';
import { type Answer, expectError, expectOk, type Json } from '../kit/test-client.ts';
import { alice, AWAY, bob, dora, FAR, fred, keyOf, member, versionOf } from '../rooms/remote-kit.ts';
import { HostileRoom } from './hostile-room.ts';
import { besieged, type Siege } from './siege.ts';

function invite(
  { evil, home }: Siege,
  event: Pick<RoomEvent, 'roomId' | 'eventId' | 'pdu' | 'version'>,
  shown: JsonValue = [],
  changes: JsonObject = {},
): Promise<Answer> {
  const body = { room_version: event.version.id, event: event.pdu, invite_room_state: shown, ...changes };
  return evil.ask(home, 'PUT', federationPath('/v2/invite', event.roomId, event.eventId), body);
}

const inviteOf = (room: HostileRoom, more: JsonObject = {}): RoomEvent =>
  room.secret(member(alice, 'invite', dora, more));

test(
  'an invite that is not what it says it is, or not its sender’s to give, is refused',
  besieged(async (siege) => {
    const { evil, home } = siege;
    const room = new HostileRoom('11');
    const right = inviteOf(room);
    const as = (pdu: JsonObject): Pick<RoomEvent, 'roomId' | 'eventId' | 'pdu' | 'version'> => ({ ...right, pdu });
    const forged = (changes: Readonly<Record<string, JsonValue | undefined>>, options = {}) =>
      room.forge({ type: 'm.room.member', state_key: alice, content: { membership: 'invite' }, ...changes }, options);
    const wrong: Record<string, JsonObject> = {
      'no signature': { ...right.pdu, signatures: {} },
      'the signature of another': forged({}, { key: keyOf(FAR), signer: FAR }),
      'a sender of a third server': forged({ sender: fred }, { key: keyOf(FAR), signer: FAR }),
      'a sender of ours': forged({ sender: bob }),
      'somebody who is none of ours': forged({ state_key: fred }),
      nobody: forged({ state_key: undefined }),
      'a join': forged({ content: { membership: 'join' } }),
      'a ban': forged({ content: { membership: 'ban' } }),
      'another type': forged({ type: 'm.room.message' }),
      'a content that was changed': { ...right.pdu, content: { membership: 'invite', displayname: 'Trusted Bank' } },
      'a depth below the ground': forged({ depth: -1 }),
      'another room': forged({ room_id: new HostileRoom('11').roomId }),
    };
    for (const [what, pdu] of Object.entries(wrong)) {
      const { status, body } = await invite(siege, as(pdu));
      assert.ok(status === 400 || status === 403, `${what}: ${status} ${JSON.stringify(body)}`);
    }
    expectError(
      await invite(siege, right, [], { room_version: 'no such version' }),
      400,
      'M_INCOMPATIBLE_ROOM_VERSION',
    );
    const elsewhere = await evil.ask(home, 'PUT', federationPath('/v2/invite', '!other:away.test', right.eventId), {
      room_version: '11',
      event: right.pdu,
    });
    assert.ok(elsewhere.status >= 400 && elsewhere.status < 500);
    const nobody = room.secret(member('@nobody:hearth.test' as typeof alice, 'invite', dora));
    assert.ok((await invite(siege, nobody)).status >= 400);
    assert.deepEqual((await siege.alice.sync()).rooms?.invite ?? {}, {});
    expectOk(await invite(siege, right));
    assert.deepEqual(Object.keys((await siege.alice.sync()).rooms.invite), [room.roomId]);
  }),
);

for (const version of ['11', '12']) {
  test(
    `what an invite to a room of version ${version} shows of it is shown only as far as it can be true`,
    besieged(async (siege) => {
      const other = new HostileRoom(version);
      const lies: Record<string, (room: HostileRoom) => JsonValue> = {
        'another room’s events': () => [
          other.find('m.room.create').pdu,
          other.secret({ type: 'm.room.name', sender: dora, stateKey: '', content: { name: 'LIE' } }).pdu,
        ],
        'events nobody signed': (room) => [
          room.find('m.room.create').pdu,
          { ...room.forge({ type: 'm.room.name', state_key: '', content: { name: 'LIE' } }), signatures: {} },
        ],
        'events that others signed': (room) => [
          room.find('m.room.create').pdu,
          room.forge({ type: 'm.room.name', state_key: '', sender: fred, content: { name: 'LIE' } }, { signer: AWAY }),
        ],
        junk: (room) => [
          room.find('m.room.create').pdu,
          null,
          7,
          [],
          'LIE',
          { type: 'LIE' },
          { type: 7, state_key: '', content: {} },
        ],
        'too much': (room) => [
          room.find('m.room.create').pdu,
          ...Array.from({ length: 200 }, () => room.find('m.room.name').pdu),
        ],
        'what is far too large': (room) => [
          room.find('m.room.create').pdu,
          { type: 'm.room.name', state_key: '', sender: dora, content: { name: `LIE${'x'.repeat(200_000)}` } },
        ],
        'no list': () => ({ LIE: 1 }),
      };
      // In older rooms nobody has to sign what is shown: there is nothing to hold it against.
      const isBinding = version === '12';
      for (const [what, make] of Object.entries(lies)) {
        if (!isBinding && what.startsWith('events')) continue;
        const room = new HostileRoom(version);
        const { status } = await invite(siege, inviteOf(room), make(room));
        assert.ok(status === 200 || status === 400 || status === 413, `${what}: ${status}`);
        const shown: Json = (await siege.alice.sync()).rooms?.invite?.[room.roomId];
        assert.equal(shown !== undefined, status === 200, what);
        assert.equal(JSON.stringify(shown ?? '').includes('LIE'), false, what);
        assert.ok(JSON.stringify(shown ?? '').length < 100_000, what);
      }
    }),
  );
}

test(
  'whoever is flooded with invites gets few of them, and can turn them all down though nobody answers for the rooms',
  besieged(
    async (siege) => {
      const { alice: client, evil } = siege;
      const rooms = Array.from({ length: 60 }, () => new HostileRoom('11'));
      const statuses: number[] = [];
      await siege.undisturbed(async () => {
        for (const room of rooms)
          statuses.push((await invite(siege, inviteOf(room), [room.find('m.room.create').pdu])).status);
      });
      const taken = statuses.filter((status) => status === 200).length;
      assert.ok(taken >= 1 && taken <= 12, `${taken} were taken`);
      assert.ok(statuses.every((status) => status === 200 || status === 429));
      const invited = Object.keys((await client.sync()).rooms.invite);
      assert.equal(invited.length, taken);
      evil.script(({ operation }) => (operation === 'v1/make_leave' ? { status: 500, json: {} } : undefined));
      for (const roomId of invited) await client.leave(roomId);
      assert.deepEqual((await client.sync()).rooms?.invite ?? {}, {});
    },
    {
      config: {
        rc_invites: {
          per_user: { per_second: 0.01, burst_count: 10 },
          per_room: { per_second: 1, burst_count: 10 },
          per_issuer: { per_second: 1, burst_count: 1_000 },
        },
      },
    },
  ),
);

test(
  'an invite that is repeated, or taken back and sent again, is one invite; its events do not get into rooms',
  besieged(async (siege) => {
    const { alice: client } = siege;
    const room = new HostileRoom('11');
    const event = inviteOf(room);
    for (let times = 0; times < 10; times += 1) expectOk(await invite(siege, event, [room.find('m.room.create').pdu]));
    const { rooms } = await client.sync();
    assert.deepEqual(Object.keys(rooms.invite), [room.roomId]);
    assert.equal(rooms.join?.[room.roomId], undefined);
    // Nothing else of the room is taken from there: nobody of ours is in it.
    await siege.push(room.speak('as if you were here').pdu, room.find('m.room.name').pdu);
    assert.equal(
      (await client.get(`/_matrix/client/v3/rooms/${encodeURIComponent(room.roomId)}/messages`, { dir: 'b' })).status,
      403,
    );
    // The invite ends only by an event that names it.
    const kick = room.forge({ type: 'm.room.member', state_key: alice, content: { membership: 'leave' } });
    await siege.push(kick);
    assert.deepEqual(Object.keys((await client.sync()).rooms?.invite ?? {}), [room.roomId]);
  }),
);

test(
  'knocks by the hundred disturb nobody; those in another’s name, or that are something else, are refused',
  besieged(
    async (siege) => {
      const { alice: client, evil, home } = siege;
      const roomId = await client.createRoom({
        preset: 'private_chat',
        initial_state: [{ type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } }],
      });
      const make = (user: string): Promise<Answer> =>
        evil.ask(
          home,
          'GET',
          `${federationPath('/v1/make_knock', roomId, user)}?${['11', '12', '10'].map((id) => `ver=${id}`).join('&')}`,
        );
      const complete = ({ room_version: version, event }: Json, changes: JsonObject = {}): RoomEvent =>
        completeTemplate({ ...event, origin_server_ts: Date.now(), ...changes }, versionOf(version), {
          serverName: evil.name,
          signingKey: evil.key,
          eventIdLocalpart: systemRandom.bytes(8).toString('hex'),
        });
      const send = (event: RoomEvent, what = 'knock', api: 'v1' | 'v2' = 'v1'): Promise<Answer> =>
        evil.ask(home, 'PUT', federationPath(`/${api}/send_${what}`, roomId, event.eventId), event.pdu);

      expectError(await make(fred), 403, 'M_FORBIDDEN');
      expectError(await make(alice), 403, 'M_FORBIDDEN');
      expectError(
        await evil.ask(home, 'GET', federationPath('/v1/make_knock', roomId, dora)),
        400,
        'M_INCOMPATIBLE_ROOM_VERSION',
      );
      const template = expectOk(await make(dora));
      const wrong: Record<string, RoomEvent> = {
        'a join': complete(template, { content: { membership: 'join' } }),
        'an invite of oneself': complete(template, { content: { membership: 'invite' } }),
        'a knock of somebody else': complete(template, { sender: fred, state_key: fred }),
        'a knock for somebody else': complete(template, { state_key: '@erin:away.test' }),
        'a topic': complete(template, { type: 'm.room.topic', state_key: '', content: { topic: 'x' } }),
        'a knock on another door': complete(template, { room_id: siege.quiet }),
      };
      for (const [what, event] of Object.entries(wrong)) {
        for (const path of ['knock', 'join', 'leave']) {
          const { status, body } = await send(event, path, path === 'knock' ? 'v1' : 'v2');
          assert.ok(status === 400 || status === 403, `${what} to send_${path}: ${status} ${JSON.stringify(body)}`);
        }
      }
      await siege.undisturbed(async () => {
        for (let at = 0; at < 200; at += 1) {
          const answer = await make(`@knock${at}:away.test`);
          if (answer.status === 429) break;
          const { status } = await send(complete(expectOk(answer)));
          assert.ok(status === 200 || status === 429, `${status}`);
        }
      });
      const state: Json[] = expectOk(await client.get(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/state`));
      assert.ok(
        state.every(
          ({ type, content, state_key: key }) =>
            type !== 'm.room.member' || key === client.userId || content.membership === 'knock',
        ),
      );
      const { rooms } = await client.sync();
      assert.ok(JSON.stringify(rooms.join[roomId]).length < 1_000_000);
    },
    // However much a single server is let do.
    {
      config: {
        rc_federation: {
          window_size: 1_000,
          sleep_limit: 1_000_000,
          sleep_delay: 1,
          reject_limit: 1_000,
          concurrent: 50,
        },
      },
    },
  ),
);
