import { picture, saying, untilEvent } from './bot-kit.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AutojoinRoomsMixin, MatrixAuth, MatrixClient, MemoryStorageProvider } from 'matrix-bot-sdk';
import { expectOk, type Json } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';

test('a bot joins where it is invited, answers, reacts, shows pictures, and minds its powers', async (t) => {
  await using server = await TestServer.start();
  const ann = await server.register('ann');
  const auth = new MatrixAuth(server.baseUrl);
  const { accessToken } = await auth.passwordRegister('dice', 'password of dice', 'the dice bot');
  const storage = new MemoryStorageProvider();
  const wake = (): MatrixClient => {
    const client = new MatrixClient(server.baseUrl, accessToken, storage);
    AutojoinRoomsMixin.setupOnClient(client);
    client.on('room.message', (roomId: string, event: Json) => {
      if (event.sender === ann.userId && event.content.body.startsWith('!roll')) answer(client, roomId, event);
    });
    return client;
  };
  const answered: Promise<unknown>[] = [];
  const answer = (client: MatrixClient, roomId: string, event: Json): void => {
    const key = '🎲';
    const content = { 'm.relates_to': { rel_type: 'm.annotation', event_id: event.event_id, key } };
    answered.push(
      client.sendEvent(roomId, 'm.reaction', content),
      client.replyNotice(roomId, event, 'You have a four.'),
    );
  };
  const bot = wake();
  using ends = new DisposableStack();
  ends.defer(() => bot.stop());
  await bot.start();
  const botId = await bot.getUserId();
  assert.equal(botId, '@dice:hearth.test');
  assert.equal((await bot.getWhoAmI()).user_id, botId);
  assert.ok(await bot.doesServerSupportVersion('v1.11'));

  const roomId = await ann.createRoom({ preset: 'private_chat', invite: [botId] });
  await untilEvent(ann, ({ state_key: key, content }) => key === botId && content.membership === 'join');
  const roll = await ann.send(roomId, '!roll');
  const notice = await untilEvent(ann, ({ content }) => content.msgtype === 'm.notice');
  assert.equal(notice.content['m.relates_to']['m.in_reply_to'].event_id, roll);
  await untilEvent(ann, ({ type, content }) => type === 'm.reaction' && content['m.relates_to'].event_id === roll);
  await Promise.all(answered);

  // Its powers.
  assert.ok(!(await bot.userHasPowerLevelFor(botId, roomId, 'm.room.topic', true)));
  await assert.rejects(bot.sendStateEvent(roomId, 'm.room.topic', '', { topic: 'four' }), {
    errcode: 'M_FORBIDDEN',
    statusCode: 403,
  });
  const levels = expectOk(await ann.get(`/_matrix/client/v3/rooms/${roomId}/state/m.room.power_levels`));
  await ann.setState(roomId, 'm.room.power_levels', { ...levels, users: { ...levels.users, [botId]: 50 } });
  assert.ok(await bot.userHasPowerLevelFor(botId, roomId, 'm.room.topic', true));
  await bot.sendStateEvent(roomId, 'm.room.topic', '', { topic: 'Four so far' });
  assert.deepEqual(await bot.getRoomStateEvent(roomId, 'm.room.topic', ''), { topic: 'Four so far' });
  assert.equal((await untilEvent(ann, ({ type }) => type === 'm.room.topic')).sender, botId);

  // Its pictures, and hers.
  const bytes = await picture();
  const mxc = await bot.uploadContent(bytes, 'image/png', 'four.png');
  await bot.sendMessage(roomId, { msgtype: 'm.image', body: 'four.png', url: mxc });
  const shown = await untilEvent(ann, ({ content }) => content.msgtype === 'm.image');
  const { data, contentType } = await bot.downloadContent(shown.content.url);
  assert.equal(contentType, 'image/png');
  assert.deepEqual(data, bytes);
  assert.equal((await ann.get(`/_matrix/client/v1/media/download/${mxc.slice('mxc://'.length)}`)).status, 200);
  await bot.setAvatarUrl(mxc);
  await bot.setDisplayName('Dice');
  assert.deepEqual(await bot.getUserProfile(botId), { displayname: 'Dice', avatar_url: mxc });

  // It knows the room with whom it talks alone.
  const direct = await bot.dms.getOrCreateDm(ann.userId);
  await ann.join(direct);
  assert.equal(await bot.dms.getOrCreateDm(ann.userId), direct);
  await bot.sendHtmlText(direct, '<b>Five</b> next time');
  assert.equal((await untilEvent(ann, saying('Five next time'))).room_id ?? direct, direct);

  await t.test('what is asked while it sleeps it answers when it wakes, once', async () => {
    bot.stop();
    // Its last look ends when there is something to see.
    const stopped = new Promise((resolve) => bot.once('account_data', resolve));
    await bot.setAccountData('test.goodnight', {});
    await stopped;
    const asked = await ann.send(roomId, '!roll again');
    const next = wake();
    ends.defer(() => next.stop());
    await next.start();
    const reply = await untilEvent(
      ann,
      ({ content }) => content.msgtype === 'm.notice' && content['m.relates_to']['m.in_reply_to'].event_id === asked,
    );
    assert.equal(reply.sender, botId);
    await Promise.all(answered);
    assert.equal(answered.length, 4);
  });
});
