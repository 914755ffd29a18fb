import assert from 'node:assert/strict';
import { expectOk, type Json, type TestClient } from '../kit/test-client.ts';
import { eventually } from '../kit/test-network.ts';
import { follows, hears, joinVia, makePair, now, type Pair, path, seesMembership } from './pair.ts';

const story = makePair(import.meta.filename);

/** Alice at home and Bob away, in a room of Alice's. */
async function meet({ home, away, tag }: Pair): Promise<{ alice: TestClient; bob: TestClient; roomId: string }> {
  const alice = await home.register(`alice-${tag}`);
  const bob = await away.register(`bob-${tag}`);
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  await joinVia(bob, roomId, home);
  await seesMembership(alice, roomId, bob.userId, 'join');
  return { alice, bob, roomId };
}

function ephemeral(answer: Json, roomId: string, type: string): Json {
  const events: Json[] = answer.rooms?.join?.[roomId]?.ephemeral?.events ?? [];
  return events.find((event) => event.type === type)?.content;
}

story('each sees the other type, and stop', async (pair) => {
  const { alice, bob, roomId } = await meet(pair);
  for (const [typist, watcher] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    const since = await now(watcher);
    const typing = path`/rooms/${roomId}/typing/${typist.userId}`;
    expectOk(await typist.put(typing, { typing: true, timeout: 20_000 }));
    const types = (answer: Json): boolean | undefined =>
      ephemeral(answer, roomId, 'm.typing')?.user_ids.includes(typist.userId);
    await follows(watcher, 'the typing', types, since);
    expectOk(await typist.put(typing, { typing: false }));
    await follows(watcher, 'its end', (answer) => types(answer) === false, since);
  }
});

story('a receipt is seen by the other, a private one by nobody', async (pair) => {
  const { alice, bob, roomId } = await meet(pair);
  for (const [speaker, reader] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    const first = await speaker.send(roomId, `read this in private, ${reader.userId}`);
    const second = await speaker.send(roomId, `read this, ${reader.userId}`);
    await hears(reader, roomId, `read this, ${reader.userId}`);
    const since = await now(speaker);
    expectOk(await reader.post(path`/rooms/${roomId}/receipt/m.read.private/${first}`, {}));
    expectOk(await reader.post(path`/rooms/${roomId}/receipt/m.read/${second}`, { thread_id: 'main' }));
    const receipt = await follows(
      speaker,
      'the receipt',
      (answer) => {
        const content = ephemeral(answer, roomId, 'm.receipt');
        assert.equal(content?.[first], undefined);
        return content?.[second]?.['m.read']?.[reader.userId];
      },
      since,
    );
    assert.equal(receipt.thread_id, 'main');
    assert.equal(typeof receipt.ts, 'number');
  }
});

story('each sees whether the other is there', async (pair) => {
  const { alice, bob } = await meet(pair);
  for (const [one, other] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    const since = await now(other);
    expectOk(
      await one.put(path`/presence/${one.userId}/status`, { presence: 'unavailable', status_msg: 'gone for a walk' }),
    );
    await follows(
      other,
      'the walk',
      (answer) =>
        (answer.presence?.events ?? []).some(
          (event: Json) =>
            event.sender === one.userId &&
            event.content.presence === 'unavailable' &&
            event.content.status_msg === 'gone for a walk',
        ),
      since,
    );
    const status = expectOk(await other.get(path`/presence/${one.userId}/status`));
    assert.equal(status.status_msg, 'gone for a walk');
  }
});

story('messages go from device to device', async (pair) => {
  const { alice, bob } = await meet(pair);
  for (const [sender, taker] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    const since = await now(taker);
    for (let index = 1; index <= 120; index += 1) {
      const messages = { [taker.userId]: { [index % 2 === 0 ? '*' : taker.deviceId]: { index } } };
      expectOk(await sender.put(path`/sendToDevice/org.hearth.note/t${String(index)}`, { messages }));
    }
    const heard: number[] = [];
    await follows(
      taker,
      'all of them',
      (answer) => {
        for (const event of answer.to_device?.events ?? []) {
          assert.equal(event.sender, sender.userId);
          heard.push(event.content.index);
        }
        return heard.length >= 120;
      },
      since,
    );
    assert.deepEqual(
      heard,
      Array.from({ length: 120 }, (_, index) => index + 1),
    );
  }
});

story('a profile is looked up on the other server, and a new name is seen in the room', async (pair) => {
  const { alice, bob, roomId } = await meet(pair);
  for (const [one, other] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    const name = `${one.userId.slice(1, 4)} the Great`;
    expectOk(await one.put(path`/profile/${one.userId}/displayname`, { displayname: name }));
    await eventually('the new name in the room', async () => {
      const member = await seesMembership(other, roomId, one.userId, 'join');
      return member.displayname === name;
    });
    expectOk(await one.put(path`/profile/${one.userId}/avatar_url`, { avatar_url: 'mxc://example.org/face' }));
  }
  const stranger = await pair.home.register(`stranger-${pair.tag}`);
  const profile = expectOk(await stranger.get(path`/profile/${bob.userId}`));
  assert.equal(profile.displayname, 'bob the Great');
  assert.equal(profile.avatar_url, 'mxc://example.org/face');
  const nobody = await stranger.get(path`/profile/${`@nobody-${pair.tag}:${pair.away.serverName}`}`);
  assert.equal(nobody.status, 404);
});
