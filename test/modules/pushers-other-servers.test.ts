import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PushGateway, REACHES_GATEWAYS } from '../kit/push-gateway.ts';
import { expectOk } from '../kit/test-client.ts';
import { eventually, onNetwork } from '../kit/test-network.ts';
import { keysOf, setPusher } from './pushers-kit.ts';

const TWO = ['home.test', 'away.test'] as const;

test(
  'an invite to a room of another server is pushed with the room’s name, listed, and gone when it is turned down',
  onNetwork(
    TWO,
    async ([home, away], network) => {
      await using gateway = await PushGateway.start();
      network.place('gateway.test', { federationPort: gateway.port });
      const ann = await home.register('ann');
      const bob = await away.register('bob');
      await setPusher(ann, gateway.pusher('phone'));
      const room = await bob.createRoom({ preset: 'private_chat', name: 'Harbour', invite: [ann.userId] });
      const invite = await gateway.until(1);
      assert.deepEqual(
        [invite.type, invite.membership, invite.user_is_target, invite.sender, invite.room_id, invite.room_name],
        ['m.room.member', 'invite', true, bob.userId, room, 'Harbour'],
      );
      assert.deepEqual([invite.sender_display_name, invite.counts, invite.prio], ['bob', { unread: 1 }, 'high']);
      const list = async (): Promise<readonly string[]> =>
        expectOk(await ann.get('/_matrix/client/v3/notifications')).notifications.map(
          ({ event }: { event: { event_id: string } }) => event.event_id,
        );
      assert.deepEqual(await list(), [invite.event_id]);

      await ann.leave(room);
      assert.deepEqual((await gateway.until(2)).counts, { unread: 0 });
      assert.deepEqual(await list(), []);
      assert.deepEqual(await keysOf(ann), ['phone']);
    },
    { config: REACHES_GATEWAYS },
  ),
);

test(
  'who joins a room of another server has read the invite, and hears of what is said there',
  onNetwork(
    TWO,
    async ([home, away], network) => {
      await using gateway = await PushGateway.start();
      network.place('gateway.test', { federationPort: gateway.port });
      const ann = await home.register('ann');
      const bob = await away.register('bob');
      await setPusher(ann, gateway.pusher('phone'));
      const room = await bob.createRoom({ preset: 'private_chat', invite: [ann.userId] });
      await gateway.until(1);
      await ann.join(room);
      await gateway.until(({ counts }) => counts.unread === 0);
      await bob.send(room, 'welcome');
      const welcome = await gateway.until(({ content }) => content?.body === 'welcome');
      assert.deepEqual([welcome.counts, welcome.sender_display_name], [{ unread: 1 }, 'bob']);
    },
    { config: REACHES_GATEWAYS },
  ),
);

test(
  'invites that somebody does not want to hear of are not pushed',
  onNetwork(
    TWO,
    async ([home, away], network) => {
      await using gateway = await PushGateway.start();
      network.place('gateway.test', { federationPort: gateway.port });
      const ann = await home.register('ann');
      const bob = await away.register('bob');
      const cy = await away.register('cy');
      await setPusher(ann, gateway.pusher('phone'));
      const ignored = { ignored_users: { [bob.userId]: {} } };
      const path = `/_matrix/client/v3/user/${ann.userId}/account_data/m.ignored_user_list`;
      expectOk(await ann.put(path, ignored));
      await bob.createRoom({ preset: 'private_chat', invite: [ann.userId] });
      await cy.createRoom({ preset: 'private_chat', invite: [ann.userId] });
      await gateway.until(1);
      const rule = '/_matrix/client/v3/pushrules/global/override/.m.rule.invite_for_me/enabled';
      expectOk(await ann.put(rule, { enabled: false }));
      const silent = await cy.createRoom({ preset: 'private_chat', invite: [ann.userId] });
      await eventually('the invite is there', async () => (await ann.sync()).rooms?.invite?.[silent]);
      assert.deepEqual(
        gateway.heard.map(({ sender }) => sender),
        [cy.userId],
      );
    },
    { config: REACHES_GATEWAYS },
  ),
);
