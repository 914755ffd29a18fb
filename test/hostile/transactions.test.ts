import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isServerName } from '../../server/matrix/identifiers.ts';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import { systemRandom } from '../../server/util/random.ts';
import { expectError, expectOk } from '../kit/test-client.ts';
import { eventually } from '../kit/test-network.ts';
import { alice, dora, erin, FAR, fred, keyOf, member } from '../rooms/remote-kit.ts';
import { roomPath } from '../network/room-view.ts';
import { HostileRoom, nothing } from './hostile-room.ts';
import { besieged } from './siege.ts';

const stranger = generateSigningKey(systemRandom.bytes(32));

test(
  'events with wrong signatures are refused, each for itself, and the rest of the transaction is taken',
  besieged(async (siege) => {
    const room = await siege.room();
    const forgeries = {
      'by a key nobody knows': room.forge({}, { key: stranger }),
      'by a key that another server has': room.forge({}, { key: keyOf(FAR) }),
      'in the name of another server': room.forge({}, { signer: FAR, key: keyOf(FAR) }),
      'in the name of a user of ours': room.forge({ sender: alice }, { signer: 'hearth.test' }),
      'of a user of ours by the sender of the transaction': room.forge({ sender: alice }, { signer: 'away.test' }),
      'of a user of a third server': room.forge({ sender: fred }, { signer: 'away.test' }),
      'over other words': { ...room.forge({}), origin_server_ts: 1 },
      'not at all': { ...room.forge({}), signatures: {} },
      'with no base64': { ...room.forge({}), signatures: { 'away.test': { [keyOf(FAR).keyId]: '%%%' } } },
      'with an algorithm that is not known': { ...room.forge({}), signatures: { 'away.test': { 'rsa:1': 'AAAA' } } },
    };
    const good = room.speak('honest');
    const outcomes = await siege.push(...Object.values(forgeries), good.pdu);
    const refused = Object.values(outcomes).filter(({ error }) => error !== undefined);
    assert.equal(refused.length, Object.keys(forgeries).length, JSON.stringify(outcomes));
    assert.deepEqual(outcomes[good.eventId], {});
    await siege.untilSaid(room, 'honest');
    assert.deepEqual(await siege.said(room.roomId), ['honest']);
  }),
);

test(
  'of an event whose hash is wrong only that counts which cannot be redacted away',
  besieged(async (siege) => {
    const room = await siege.room();
    const right = room.forge({ content: { msgtype: 'm.text', body: 'what was signed' } });
    // The signature does not cover what a redaction takes away: only the hash does.
    const changed = { ...right, content: { msgtype: 'm.text', body: 'what was never said' } };
    const [eventId = ''] = Object.keys(await siege.push(changed));
    await siege.through(room);
    assert.deepEqual(await siege.said(room.roomId), ['through', 'undefined']);
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room.roomId)}/event/${encodeURIComponent(eventId)}`;
    assert.deepEqual(expectOk(await siege.alice.get(path)).content, {});
  }),
);

test(
  'events of rooms we do not know, of rooms that are none of the sender’s, or that lead into another room, change nothing',
  besieged(async (siege) => {
    const { alice: client, evil } = siege;
    const room = await siege.room();
    // Only of the oldest versions it can be told what an event is called whose room is not known.
    assert.deepEqual(await siege.push(new HostileRoom('11').speak('Who knows this room?').pdu), {});
    const unknown = new HostileRoom('1').speak('Nor this one?');
    assert.match((await siege.push(unknown.pdu))[unknown.eventId]?.error ?? '', /not known/);

    // Alice's own room: the other server was never in it, so no event of its users can be allowed.
    const own = room.forge({ room_id: siege.quiet, content: { msgtype: 'm.text', body: 'break-in' } });
    // And one with the auth events of a room where Dora is the master.
    const borrowed = room.forge({
      room_id: siege.quiet,
      type: 'm.room.topic',
      state_key: '',
      content: { topic: 'mine' },
    });
    await siege.push(own, borrowed);
    // An event of Dora's room that says it follows Alice's.
    const [last] = expectOk(
      await client.get(`/_matrix/client/v3/rooms/${encodeURIComponent(siege.quiet)}/messages`, { dir: 'b' }),
    ).chunk;
    const across = room.forge({ prev_events: [last.event_id], content: { msgtype: 'm.text', body: 'across' } });
    const misled = room.forge({ auth_events: [last.event_id], content: { msgtype: 'm.text', body: 'misled' } });
    await siege.push(across, misled);
    await siege.through(room);

    assert.deepEqual(await siege.said(room.roomId), ['through']);
    assert.deepEqual(await siege.said(siege.quiet), []);
    const state = expectOk(await client.get(`/_matrix/client/v3/rooms/${encodeURIComponent(siege.quiet)}/state`));
    assert.ok(!state.some(({ type }: { type: string }) => type === 'm.room.topic'));
    assert.ok(evil.count('v1/get_missing_events') < 10, 'it is not sent about for what nobody can have');
  }),
);

test(
  'a transaction with 51 PDUs or 101 EDUs is refused as a whole; one with as many as are allowed is taken',
  besieged(async (siege) => {
    const { evil, home } = siege;
    const room = await siege.room();
    const events = Array.from({ length: 51 }, (_, at) => room.speak(`${at}`));
    const pdus = events.map(({ pdu }) => pdu);
    expectError(await evil.transact(home, { pdus }), 400, 'M_BAD_JSON');
    const edu = { edu_type: 'm.typing', content: { room_id: room.roomId, user_id: dora, typing: true } };
    expectError(await evil.transact(home, { edus: Array.from({ length: 101 }, () => edu) }), 400, 'M_BAD_JSON');
    assert.deepEqual(await siege.said(room.roomId), [], 'nothing of it was taken');
    assert.deepEqual((await siege.alice.sync()).rooms.join[room.roomId].ephemeral?.events ?? [], []);

    const taken = await evil.transact(home, { pdus: pdus.slice(0, 50), edus: Array.from({ length: 100 }, () => edu) });
    assert.equal(Object.keys(expectOk(taken).pdus).length, 50);
    await siege.untilSaid(room, '49');
  }),
);

test(
  'a transaction that is sent again, at once or later, in this order or another, counts once',
  besieged(async (siege) => {
    const { evil, home, alice: client } = siege;
    const room = await siege.room();
    const bob = await client.sync();
    const event = room.speak('once');
    const message = {
      edu_type: 'm.direct_to_device',
      content: {
        sender: dora,
        type: 'test.hello',
        message_id: 'the same',
        messages: { [client.userId]: { '*': { hello: 1 } } },
      },
    };
    const again = () => evil.transact(home, { id: 'replayed', pdus: [event.pdu], edus: [message] });
    const answers = await Promise.all([again(), again(), again()]);
    for (const answer of answers) assert.deepEqual(expectOk(answer).pdus, { [event.eventId]: {} });
    for (let times = 0; times < 20; times += 1) {
      expectOk(await evil.transact(home, { pdus: [event.pdu, event.pdu], edus: [message, message] }));
    }
    await home.restart();
    expectOk(await again());
    await siege.through(room);
    assert.deepEqual(await siege.said(room.roomId), ['once', 'through']);
    const { to_device: toDevice } = await client.sync({ since: bob.next_batch });
    assert.equal(toDevice.events.length, 1);
  }),
);

for (const version of ['1', '2']) {
  test(
    `in room version ${version}, where events name themselves, the first event of a name stays what it is`,
    besieged(async (siege) => {
      const room = await siege.room(version);
      const name = '$chosen:away.test';
      const first = room.forge({ event_id: name, content: { msgtype: 'm.text', body: 'the first' } });
      const second = room.forge({ event_id: name, content: { msgtype: 'm.text', body: 'the second' } });
      const third = room.forge({ event_id: name, type: 'm.room.topic', state_key: '', content: { topic: 'stolen' } });
      // In one transaction, in the next one, and as the name of somebody else's event.
      await siege.push(first, second);
      await siege.push(third);
      const join = room.find('m.room.member', siege.alice.userId);
      await siege.push(room.forge({ event_id: join.eventId, content: { msgtype: 'm.text', body: 'I am her join' } }));
      await siege.push(
        room.forge({ event_id: '$theirs:far.test', content: { msgtype: 'm.text', body: 'not my name' } }),
      );
      await siege.through(room);
      assert.deepEqual(await siege.said(room.roomId), ['the first', 'through']);
      assert.equal(
        (await siege.alice.get(`/_matrix/client/v3/rooms/${encodeURIComponent(room.roomId)}/state/m.room.topic`))
          .status,
        404,
      );
    }),
  );
}

test(
  'an event that lies about its depth is refused or can do no harm: those after it still find their place',
  besieged(async (siege) => {
    const { alice: client } = siege;
    const room = await siege.room();
    const depths = [2 ** 53, -1, 1.5, 1e300, '7', null, true, [], {}, undefined, -0.5, Number.MIN_SAFE_INTEGER];
    const lies = depths.map((depth) => room.forge({ depth }));
    const outcomes = await siege.push(...lies);
    for (const { error } of Object.values(outcomes)) assert.match(error ?? '', /depth|canonical|integer|number/i);

    // The greatest depth there is, and the least, are allowed.
    const deepest = room.secret({ type: 'm.room.message', sender: dora, content: { body: 'deepest' } });
    await siege.push(
      room.seal({ ...deepest.pdu, depth: Number.MAX_SAFE_INTEGER }),
      room.seal({ ...deepest.pdu, depth: 0 }),
    );
    await siege.through(room);
    const mine = await client.send(room.roomId, 'after the deepest');
    await client.send(room.roomId, 'and after that');
    const said = await siege.said(room.roomId);
    assert.equal(said.length, 5);
    const sent = await eventually('it goes out', () =>
      siege.evil.heard.findLast(({ operation, body }) => operation === 'v1/send' && body.pdus.length > 0 && body.pdus),
    );
    for (const pdu of sent.body.pdus)
      assert.ok(Number.isSafeInteger(pdu.depth), 'what we send has a depth that others take');
    assert.ok(mine);
  }),
);

test(
  'an event that names too many others, or the same ones over and over, is refused without anybody being asked for them',
  besieged(async (siege) => {
    const { evil } = siege;
    const room = await siege.room();
    const many = Array.from({ length: 1_000 }, (_, at) => nothing(at));
    const before = evil.heard.length;
    const lists = [
      { prev_events: many },
      { auth_events: many },
      { prev_events: many.slice(0, 21) },
      { auth_events: many.slice(0, 11) },
      { prev_events: ['$'], auth_events: [''] },
      { prev_events: 'none' },
      { prev_events: { 0: nothing(0) } },
      { auth_events: [[nothing(0), {}]] },
      { auth_events: [null, 1, {}] },
      { prev_events: Array.from({ length: 30 }, () => nothing(0)) },
    ].map((changes) => room.forge(changes));
    for (const { error } of Object.values(await siege.push(...lists))) assert.match(error ?? '', /events/);
    assert.equal(evil.heard.length, before);

    // The same few over and over are no more than those few.
    const doubled = room.forge({
      prev_events: Array.from({ length: 20 }, () => room.refer(room.find('m.room.name'))),
      content: { msgtype: 'm.text', body: 'twentyfold' },
    });
    await siege.push(doubled);
    await siege.through(room);
    assert.deepEqual(await siege.said(room.roomId), ['through', 'twentyfold']);
  }),
);

test(
  'JSON that is deep, broken, or no object is refused, and the server goes on',
  besieged(async (siege) => {
    const { evil, home } = siege;
    const room = await siege.room();
    const path = '/_matrix/federation/v1/send/deep';
    const deep = (depth: number) => '{"a":'.repeat(depth) + '1' + '}'.repeat(depth);
    const wrap = (inner: string) => `{"edus":[],"origin":"away.test","pdus":[${inner}]}`;
    for (const depth of [2_000, 100_000, 1_000_000]) {
      const answer = await evil.ask(home, 'PUT', path, wrap(deep(depth)));
      assert.equal(answer.status, 400, `nested ${depth} times`);
      assert.match(answer.body.errcode, /M_BAD_JSON|M_NOT_JSON/);
    }
    for (const text of [
      '',
      '[]',
      '"text"',
      '{',
      '{"pdus":}',
      '{"pdus":[}',
      'null',
      '\u0000',
      '{"pdus":1}',
      '{"edus":{}}',
    ]) {
      const { status } = await evil.ask(home, 'PUT', `${path}${text.length}`, text);
      assert.ok(status >= 400 && status < 500, `${JSON.stringify(text)}: ${status}`);
    }
    const odd = ['text', 7, null, [], [[]], {}, { room_id: 7 }, { room_id: room.roomId }, true];
    assert.deepEqual(
      Object.values(await siege.push(...odd)).filter(({ error }) => error === undefined),
      [],
    );
    // As deep as JSON may be, but deeper than an event: only the event is refused.
    let nested: unknown = 1;
    for (let depth = 0; depth < 300; depth += 1) nested = [nested];
    const event = room.forge({}) as Record<string, unknown>;
    const outcomes = await siege.push({ ...event, content: { nested } });
    assert.deepEqual(
      Object.values(outcomes).filter(({ error }) => error === undefined),
      [],
    );
    await siege.through(room);
    assert.deepEqual(await siege.said(room.roomId), ['through']);
  }),
);

test(
  'a body of more than is allowed is refused while it arrives, and takes no memory',
  besieged(async (siege) => {
    const { evil, home } = siege;
    const socket = await evil.connect(home);
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    let answer = '';
    socket.on('data', (chunk: Buffer) => void (answer += chunk.toString('latin1')));
    socket.on('close', () => resolve());
    socket.write(
      'PUT /_matrix/federation/v1/send/big HTTP/1.1\r\nHost: hearth.test\r\nContent-Type: application/json\r\n' +
        'Authorization: X-Matrix origin="away.test",destination="hearth.test",key="ed25519:1",sig="AAAA"\r\n' +
        'Transfer-Encoding: chunked\r\n\r\n',
    );
    const rss = process.memoryUsage.rss();
    let sent = 0;
    const piece = Buffer.alloc(65_536, ' ');
    const chunk = Buffer.concat([Buffer.from('10000\r\n'), piece, Buffer.from('\r\n')]);
    while (!socket.destroyed && sent < 1_000_000_000) {
      sent += piece.length;
      if (!socket.write(chunk)) {
        await new Promise<void>((drained) => {
          socket.once('drain', drained);
          socket.once('close', drained);
        });
      }
    }
    await closed;
    assert.match(answer, /^HTTP\/1\.1 (401|413) /, answer.slice(0, 200));
    assert.ok(sent < 200_000_000, `it takes ${sent} bytes until it hangs up`);
    assert.ok(process.memoryUsage.rss() - rss < 200_000_000);
    // One that announces it is refused before a byte of it is read.
    const announced = await evil.ask(
      home,
      'PUT',
      '/_matrix/federation/v1/send/huge',
      `{"pdus":["${'x'.repeat(11_000_000)}"]}`,
    );
    expectError(announced, 413, 'M_TOO_LARGE');
  }),
);

test(
  'a request that was signed for another server, or by another, or for another path, is nobody’s',
  besieged(async (siege) => {
    const { evil, home } = siege;
    const room = await siege.room();
    const event = room.secret({ type: 'm.room.message', sender: dora, content: { body: 'never' } });
    const transaction = { pdus: [event.pdu] };
    const elsewhere = 'third.test';
    assert.ok(isServerName(elsewhere));
    const own = 'hearth.test';
    assert.ok(isServerName(own));
    expectError(await evil.transact(home, transaction, { destination: elsewhere }), 401, 'M_UNAUTHORIZED');
    expectError(await evil.transact(home, transaction, { origin: FAR }), 401, 'M_UNAUTHORIZED');
    expectError(await evil.transact(home, transaction, { origin: own }), 401, 'M_UNAUTHORIZED');
    expectError(await evil.transact(home, transaction, { key: stranger }), 401, 'M_UNAUTHORIZED');
    expectError(await evil.transact(home, transaction, { headers: {} }), 401, 'M_UNAUTHORIZED');
    for (const authorization of [
      'X-Matrix',
      'X-Matrix origin="away.test"',
      'Bearer x',
      'X-Matrix origin=a b,key=c,sig=d',
      `X-Matrix ${',a=b'.repeat(2_000)}`,
    ]) {
      const { status } = await evil.transact(home, transaction, { headers: { authorization } });
      assert.ok(status === 401 || status === 400 || status === 431, `${authorization.slice(0, 40)}: ${status}`);
    }
    // What was signed for one request is good for no other.
    const seen = await evil.ask(home, 'GET', '/_matrix/federation/v1/make_join/x/y', undefined, {
      destination: elsewhere,
    });
    assert.equal(seen.status, 401);
    await siege.through(room);
    assert.deepEqual(await siege.said(room.roomId), ['through']);
  }),
);

test(
  'what the rules of a room forbid is kept from those who read it: joins of the banned, topics of the powerless, other people’s words',
  besieged(async (siege) => {
    const room = await siege.room();
    const erin = '@erin:away.test';
    const topic = room.forge({ sender: erin, type: 'm.room.topic', state_key: '', content: { topic: 'mine now' } });
    const power = room.forge({
      sender: erin,
      type: 'm.room.power_levels',
      state_key: '',
      content: { users: { [erin]: 100 } },
    });
    const create = room.forge({ type: 'm.room.create', state_key: '', content: { room_version: '11' } });
    const other = room.forge({ type: 'm.room.member', state_key: fred, content: { membership: 'join' } });
    await siege.push(topic, power, create, other);
    await siege.through(room);
    const state = expectOk(await siege.alice.get(`/_matrix/client/v3/rooms/${encodeURIComponent(room.roomId)}/state`));
    const find = (type: string) => state.find((event: { type: string }) => event.type === type);
    assert.equal(find('m.room.topic'), undefined);
    assert.deepEqual(find('m.room.power_levels').content, room.find('m.room.power_levels').content);
    assert.equal(find('m.room.create').event_id, room.find('m.room.create').eventId);
    assert.ok(!state.some(({ state_key: key }: { state_key: string }) => key === fred));
  }),
);

test(
  'what comes for a room that the last of us leaves meanwhile, or left before, is refused, and the rest is taken',
  besieged(async (siege) => {
    const { evil, far, home, alice: client } = siege;
    const room = await siege.room();
    const other = await siege.room();
    const invited = room.send(member(erin, 'invite', dora));
    await siege.push(invited.pdu);
    await siege.through(room);
    const joined = room.send(member(fred, 'join'));

    // Fred's server lets itself be asked for its key for as long as it takes Alice to leave.
    const left = Promise.withResolvers<undefined>();
    far.answer('key/v2/server', () => left.promise);
    const sent = siege.push(joined.pdu, other.speak('heard').pdu);
    await eventually('the key is asked for', () => far.heard.length > 0);
    expectOk(await client.post(roomPath(room.roomId, 'leave'), {}));
    left.resolve(undefined);
    assert.match((await sent)[joined.eventId]?.error ?? '', /not in the room/);
    await siege.untilSaid(other, 'heard');

    // Only what becomes of our own users concerns us from outside.
    const withdrawn = room.secret(member(erin, 'leave', dora));
    assert.ok(withdrawn.authEvents.includes(invited.eventId));
    assert.match((await siege.push(withdrawn.pdu))[withdrawn.eventId]?.error ?? '', /not in the room/);
    expectOk(await evil.transact(home, { pdus: [room.speak('to nobody').pdu] }));
  }),
);
