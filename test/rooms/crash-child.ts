/**
 * Sends messages to a room as fast as it can and says which ones were acknowledged, until it is killed.
 * Arguments: the database, the room, the hex seed of the signing key, a number to begin with.
 */
import { isDeviceId, isRoomId, isServerName, isUserId } from '../../server/matrix/identifiers.ts';
import { generateSigningKey } from '../../server/matrix/signing.ts';
import { createRooms, migrations } from '../../server/rooms/rooms.ts';
import { openDatabase } from '../../server/storage/database.ts';
import { systemClock } from '../../server/util/clock.ts';
import { silentLogger } from '../../server/util/log.ts';

const [path = '', roomId = '', seed = '', first = '0'] = process.argv.slice(2);
const [serverName, sender, deviceId] = ['hearth.test', '@alice:hearth.test', 'PHONE'];
if (!isRoomId(roomId) || !isServerName(serverName) || !isUserId(sender) || !isDeviceId(deviceId)) process.exit(2);

const db = openDatabase({ path, migrations: [migrations], log: silentLogger });
const { sender: send } = createRooms({
  db,
  clock: systemClock,
  log: silentLogger,
  serverName,
  signingKey: generateSigningKey(Buffer.from(seed, 'hex')),
  projections: [],
});

for (let turn = Number(first); ; turn++) {
  const isState = turn % 5 === 0;
  const event = await send.send(
    {
      roomId,
      sender,
      type: isState ? 'org.example.state' : 'm.room.message',
      content: { body: `${turn}`, msgtype: 'm.text' },
      ...(isState ? { stateKey: `${turn % 7}` } : {}),
    },
    { transaction: { deviceId, transactionId: `t${turn}` } },
  );
  await db.committed();
  process.stdout.write(`${turn} ${event.eventId}\n`);
}
