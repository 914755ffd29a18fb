import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId, ServerName, UserId } from '../../server/matrix/identifiers.ts';
import { Interest } from '../../server/modules/application-services/service/interest.ts';
import { ApplicationService } from '../../server/modules/application-services/service/registry.ts';
import type { StateDelta } from '../../server/rooms/types.ts';
import type { StreamPosition, WriteTx } from '../../server/storage/types.ts';
import { silentLogger } from '../../server/util/log.ts';

const roomId = '!tea:hearth.test' as RoomId;
const bot = '@bridgebot:hearth.test' as UserId;
const leaves: StateDelta = { type: 'm.room.member', stateKey: bot, before: undefined, after: undefined };

const service = new ApplicationService(
  {
    id: 'bridge',
    url: undefined,
    asToken: 'as',
    hsToken: 'hs',
    senderUserId: bot,
    rateLimited: true,
    protocols: [],
    receivesEphemeral: false,
    receivesDeviceNews: false,
    namespaces: { users: [], aliases: [], rooms: [] },
  },
  { serverName: 'hearth.test' as ServerName, tracksAddresses: false, log: silentLogger },
);

/** A write that can be undone. */
function write(): { tx: WriteTx; undo: () => void } {
  const undone: (() => void)[] = [];
  const tx: WriteTx = {
    nextPosition: () => 1 as StreamPosition,
    touch: () => undefined,
    onCommit: () => undefined,
    onRollback: (action) => void undone.push(action),
  };
  return { tx, undo: () => undone.forEach((action) => action()) };
}

test('who is in a room is looked up again after a write that said otherwise is undone', () => {
  const joined = new Set<UserId>([bot]);
  const interest = new Interest({
    services: [service],
    members: {
      isJoined: (_roomId, userId) => joined.has(userId),
      listLocalJoined: () => [...joined],
      listRoomsOf: () => [],
    },
    listAliases: () => [],
  });
  // Nothing is remembered of the room when its last user of the service leaves, and the write asks in between.
  const { tx, undo } = write();
  joined.delete(bot);
  interest.review(tx, roomId, [leaves]);
  assert.equal(interest.isPresent(service, roomId), false);
  joined.add(bot);
  undo();
  assert.equal(interest.isPresent(service, roomId), true);

  const later = write();
  joined.delete(bot);
  interest.review(later.tx, roomId, [leaves]);
  assert.equal(interest.isPresent(service, roomId), false);
});
