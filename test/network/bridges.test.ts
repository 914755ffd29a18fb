import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ScriptedAppService } from '../kit/scripted-app-service.ts';
import { expectOk } from '../kit/test-client.ts';
import { onNetwork } from '../kit/test-network.ts';

test(
  'somebody of another server invites a user of a bridge who is not there yet, and withdraws it',
  onNetwork(['home.test', 'away.test'] as const, async ([home, away], network) => {
    await using bridge = await ScriptedAppService.start();
    network.place('bridge', { federationPort: bridge.port });
    await away.restart({ app_service_config_files: [bridge.file] });
    const ghost = '@_bridge_bob:away.test';
    bridge.on(async ({ path }) => {
      if (path !== `/_matrix/app/v1/users/${ghost}`) return undefined;
      const body = { type: 'm.login.application_service', username: '_bridge_bob', inhibit_login: true };
      expectOk(await bridge.as(away).post('/_matrix/client/v3/register', body));
      return {};
    });
    const alice = await home.register('alice');
    const roomId = await alice.createRoom({ preset: 'private_chat', name: 'Hut' });
    await alice.invite(roomId, ghost);
    const invite = await bridge.untilEvent(({ content }) => content.membership === 'invite');
    assert.deepEqual([invite.state_key, invite.sender, invite.room_id], [ghost, alice.userId, roomId]);
    const name = invite.unsigned.invite_room_state.find(({ type }: { type: string }) => type === 'm.room.name');
    assert.equal(name.content.name, 'Hut');

    await bridge.as(away, ghost).leave(roomId);
    await bridge.untilEvent(({ content, state_key: key }) => content.membership === 'leave' && key === ghost);
    await alice.invite(roomId, ghost);
    await bridge.as(away, ghost).join(roomId);
    const said = await alice.send(roomId, 'welcome');
    await bridge.untilEvent(({ event_id: id }) => id === said);
  }),
);
