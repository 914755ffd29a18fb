import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../kit/manual-clock.ts';
import { PushGateway, REACHES_GATEWAYS } from '../kit/push-gateway.ts';
import { expectOk } from '../kit/test-client.ts';
import { eventually } from '../kit/test-network.ts';
import { TestServer } from '../kit/test-server.ts';
import { keysOf, pair, passUntil, read, setPusher } from './pushers-kit.ts';

test('a message is pushed with all a phone wants to show, and reading it clears the number', async () => {
  await using gateway = await PushGateway.start();
  await using server = await TestServer.start({ config: REACHES_GATEWAYS });
  const { ann, bob, room } = await pair(server, gateway, { data: { brand: 'Ours' } });
  await ann.setState(room, 'm.room.name', { name: 'Kitchen' });
  const eventId = await bob.send(room, 'the kettle is on');

  const { devices, ...rest } = await gateway.until(1);
  assert.deepEqual(rest, {
    id: eventId,
    event_id: eventId,
    room_id: room,
    type: 'm.room.message',
    sender: bob.userId,
    sender_display_name: 'bob',
    room_name: 'Kitchen',
    prio: 'high',
    content: { msgtype: 'm.text', body: 'the kettle is on' },
    counts: { unread: 1 },
  });
  assert.equal(devices.length, 1);
  const [{ pushkey_ts: ts, ...device }] = devices;
  assert.deepEqual(device, {
    app_id: 'org.example.app',
    pushkey: 'phone',
    data: { brand: 'Ours' },
    tweaks: { sound: 'default' },
  });
  assert.ok(Math.abs(ts - Date.now() / 1000) < 60);

  await read(ann, room, eventId);
  const { counts, event_id: none, devices: told } = await gateway.until(2);
  assert.deepEqual([counts, none, told[0].pushkey], [{ unread: 0 }, undefined, 'phone']);
});

test('an invite is pushed to the invited as being about them, and one who wants IDs gets no more than those', async () => {
  await using gateway = await PushGateway.start();
  await using server = await TestServer.start({ config: REACHES_GATEWAYS });
  const ann = await server.register('ann');
  const bob = await server.register('bob');
  await setPusher(ann, gateway.pusher('phone'));
  await setPusher(ann, gateway.pusher('tablet', { data: { format: 'event_id_only', custom: 7 } }));
  const room = await bob.createRoom({ preset: 'private_chat', name: 'Shed', invite: [ann.userId] });

  const rung = await gateway.until(({ devices }) => devices[0].pushkey === 'phone');
  assert.deepEqual(
    [rung.type, rung.membership, rung.user_is_target, rung.room_id, rung.room_name, rung.counts],
    ['m.room.member', 'invite', true, room, 'Shed', { unread: 1 }],
  );
  const { devices, ...bare } = await gateway.until(({ devices: [device] }) => device.pushkey === 'tablet');
  assert.deepEqual(bare, { event_id: rung.event_id, room_id: room, prio: 'high', counts: { unread: 1 } });
  const [{ pushkey_ts: _, ...device }] = devices;
  assert.deepEqual(device, {
    app_id: 'org.example.app',
    pushkey: 'tablet',
    data: { format: 'event_id_only', custom: 7 },
  });
});

test('rooms are called by their name, their alias or the people in them, and what is not pressing can wait', async () => {
  await using gateway = await PushGateway.start();
  await using server = await TestServer.start({ config: REACHES_GATEWAYS });
  const { ann, bob, room } = await pair(server, gateway);
  await bob.send(room, 'one');
  const [alone, group, byAlias] = [
    await gateway.until(1),
    await (async () => {
      for (const name of ['cy', 'dot']) {
        const who = await server.register(name);
        await ann.invite(room, who.userId);
        await who.join(room);
      }
      await bob.send(room, 'two');
      return gateway.until(2);
    })(),
    await (async () => {
      const alias = '#shed:hearth.test';
      expectOk(await ann.put(`/_matrix/client/v3/directory/room/${encodeURIComponent(alias)}`, { room_id: room }));
      await ann.setState(room, 'm.room.canonical_alias', { alias });
      await bob.send(room, 'three');
      return gateway.until(3);
    })(),
  ];
  assert.deepEqual([alone.room_name, alone.room_alias, alone.prio], [undefined, undefined, 'high']);
  assert.deepEqual([group.room_name, group.prio], ['bob and 2 others', 'low']);
  assert.deepEqual([byAlias.room_name, byAlias.room_alias], ['#shed:hearth.test', '#shed:hearth.test']);
  assert.deepEqual(byAlias.devices[0].tweaks, {});

  await bob.send(room, { msgtype: 'm.text', body: 'look', 'm.mentions': { user_ids: [ann.userId] } });
  const mention = await gateway.until(4);
  assert.deepEqual([mention.prio, mention.devices[0].tweaks], ['high', { sound: 'default', highlight: true }]);
  await bob.send(room, { ciphertext: '…' }, 'm.room.encrypted');
  assert.equal((await gateway.until(5)).prio, 'high');
});

test('a push key that the gateway does not know any more is forgotten, and no other', async () => {
  await using gateway = await PushGateway.start();
  await using server = await TestServer.start({ config: REACHES_GATEWAYS });
  const { ann, bob, room } = await pair(server, gateway);
  await setPusher(ann, gateway.pusher('tablet'));
  gateway.script = ({ devices }) =>
    devices[0].pushkey === 'phone' ? { json: { rejected: ['phone', 'tablet', 'what else'] } } : undefined;
  await bob.send(room, 'one');
  await eventually('the phone is forgotten', async () => (await keysOf(ann)).length === 1);
  assert.deepEqual(await keysOf(ann), ['tablet']);
  await bob.send(room, 'two');
  await gateway.until(3);
  assert.deepEqual(gateway.heard.map(({ devices, content }) => `${devices[0].pushkey} ${content.body}`).sort(), [
    'phone one',
    'tablet one',
    'tablet two',
  ]);
});

test('muted rooms, notices, one’s own messages and what was said before are not pushed', async () => {
  await using gateway = await PushGateway.start();
  await using server = await TestServer.start({ config: REACHES_GATEWAYS });
  const { ann, bob, room } = await pair(server);
  await bob.send(room, 'long ago');
  await setPusher(ann, gateway.pusher('phone'));
  const rule = `/_matrix/client/v3/pushrules/global/room/${encodeURIComponent(room)}`;
  expectOk(await ann.put(rule, { actions: [] }));
  await bob.send(room, 'muted');
  expectOk(await ann.delete(rule));
  await bob.send(room, { msgtype: 'm.notice', body: 'a notice' });
  await ann.send(room, 'my own');
  await bob.send(room, 'at last');
  await gateway.until(({ content }) => content?.body === 'at last');
  assert.deepEqual(gateway.bodies, ['at last']);
});

test('while a gateway is away nothing is lost, nothing comes twice, and what was read or redacted comes not at all', async () => {
  await using gateway = await PushGateway.start();
  const clock = new ManualClock();
  await using server = await TestServer.start({ config: REACHES_GATEWAYS, clock });
  const { ann, bob, room } = await pair(server, gateway);
  const other = await ann.createRoom({ preset: 'private_chat', invite: [bob.userId] });
  await bob.join(other);
  gateway.script = () => ({ status: 502, json: {} });
  for (const body of ['one', 'two']) await bob.send(room, body);
  const seen = await bob.send(other, 'read elsewhere');
  const regretted = await bob.send(room, 'regretted');
  await bob.send(room, 'three');
  await read(ann, other, seen);
  const redact = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/redact/${encodeURIComponent(regretted)}/r1`;
  expectOk(await bob.put(redact));
  // Growing waits: three tries take more than the first second.
  await passUntil(clock, () => gateway.heard.length >= 3, 500);
  assert.deepEqual(new Set(gateway.bodies), new Set(['one']));

  await server.restart();
  gateway.script = () => undefined;
  const before = gateway.heard.length;
  await passUntil(clock, () => gateway.bodies.slice(before).includes('three'), 1_000);
  assert.deepEqual(
    gateway.bodies.slice(before).filter((body, at, all) => all.indexOf(body) === at),
    ['one', 'two', 'three'],
  );
  assert.equal(gateway.bodies.slice(before + 1).filter((body) => body === 'two').length, 1);
});

test('after a day a notification is news no more, and the next one gets its chance', async () => {
  await using gateway = await PushGateway.start();
  const clock = new ManualClock();
  await using server = await TestServer.start({ config: REACHES_GATEWAYS, clock });
  const { bob, room } = await pair(server, gateway);
  gateway.script = ({ content }) => (content?.body === 'poison' ? { status: 500 } : undefined);
  await bob.send(room, 'poison');
  await bob.send(room, 'cure');
  await passUntil(clock, () => gateway.bodies.includes('cure'), 600_000);
  assert.ok(clock.now() - 1_700_000_000_000 >= 24 * 3_600_000, 'not before a day had passed');
  const tries = gateway.bodies.filter((body) => body === 'poison').length;
  assert.ok(tries > 20 && tries < 60, `each hour at least, but not much more often: ${tries}`);
});

test('a gateway that is gone for days does not have all that was said meanwhile gathered for it', async () => {
  await using gateway = await PushGateway.start();
  const clock = new ManualClock();
  await using server = await TestServer.start({ config: REACHES_GATEWAYS, clock });
  const { bob, room } = await pair(server, gateway);
  gateway.script = () => ({ status: 502, json: {} });
  const hour = 3_600_000;
  const end = clock.now() + 144 * hour;
  for (let said = 0; clock.now() < end; said += 1) {
    await bob.send(room, String(said));
    const next = clock.now() + 4 * hour;
    await passUntil(clock, () => clock.now() >= next, hour);
  }
  gateway.script = () => undefined;
  const before = gateway.heard.length;
  await passUntil(clock, () => gateway.bodies.slice(before).includes('35'), hour / 4);
  const oldest = Math.min(...gateway.bodies.slice(before).map(Number));
  assert.ok(oldest >= 8 && oldest < 24, `of six days the last three or four come, from ${oldest} on`);
});

test('a gateway that does not answer keeps nobody else waiting', async () => {
  await using slow = await PushGateway.start();
  await using quick = await PushGateway.start();
  await using server = await TestServer.start({ config: REACHES_GATEWAYS });
  const { ann, bob, room } = await pair(server, slow);
  slow.script = () => 'silence';
  await setPusher(ann, quick.pusher('tablet'));
  for (const body of ['one', 'two', 'three']) await bob.send(room, body);
  await quick.until(3);
  assert.deepEqual(quick.bodies, ['one', 'two', 'three']);
  assert.deepEqual(slow.bodies, ['one']);
});

test('a gateway at an address of this machine or its network is never asked, unless an administrator says so', async () => {
  await using gateway = await PushGateway.start();
  const clock = new ManualClock();
  await using server = await TestServer.start({ clock });
  const { bob, room } = await pair(server, gateway);
  await bob.send(room, 'one');
  for (let step = 0; step < 20; step += 1) await clock.advance(1_000);
  assert.equal(gateway.heard.length, 0);

  // The same without the list, so that it is the list that made the difference.
  await server.restart(REACHES_GATEWAYS);
  await gateway.until(1);
  assert.deepEqual(gateway.bodies, ['one']);
});

test('what messages say stays here if an administrator wants it to, and messages are counted instead of rooms', async () => {
  await using gateway = await PushGateway.start();
  await using server = await TestServer.start({
    config: { ...REACHES_GATEWAYS, push: { include_content: false, group_unread_count_by_room: false } },
  });
  const { ann, bob, room } = await pair(server, gateway);
  await bob.createRoom({ preset: 'private_chat', invite: [ann.userId] });
  await bob.send(room, 'one');
  await bob.send(room, 'two');
  const last = await gateway.until(3);
  assert.deepEqual([last.sender, last.content, last.counts], [bob.userId, undefined, { unread: 3 }]);
});

test('notifications can be held back for a while, at random', async () => {
  await using gateway = await PushGateway.start();
  const clock = new ManualClock();
  await using server = await TestServer.start({
    config: { ...REACHES_GATEWAYS, push: { jitter_delay: '60s' } },
    clock,
  });
  const { bob, room } = await pair(server, gateway);
  await bob.send(room, 'one');
  // While the clock stands still nothing is due, however much happens meanwhile.
  for (let n = 0; n < 20; n += 1) await bob.sync();
  assert.equal(gateway.heard.length, 0);
  await passUntil(clock, () => gateway.heard.length === 1, 1_000);
  assert.ok(clock.now() - 1_700_000_000_000 <= 90_000, 'not longer than that');
});

test('an app that counts by itself is told no numbers', async () => {
  await using gateway = await PushGateway.start();
  await using server = await TestServer.start({ config: REACHES_GATEWAYS });
  const { ann, bob, room } = await pair(server, gateway, { data: { 'org.matrix.msc4076.disable_badge_count': true } });
  const first = await bob.send(room, 'one');
  assert.equal((await gateway.until(1)).counts, undefined);
  await read(ann, room, first);
  await bob.send(room, 'two');
  await gateway.until(2);
  assert.deepEqual(gateway.bodies, ['one', 'two']);
  assert.equal(gateway.heard.length, 2);
});
