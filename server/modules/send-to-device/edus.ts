import type { EduHandler } from '../../federation/types.ts';
import { badJson, forbidden, tooLarge } from '../../matrix/errors.ts';
import { isUserId, serverNameOf, type UserId } from '../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../../matrix/json.ts';
import type { ToDevice } from './service.ts';

/** The spec wants 32 characters at most; there is no harm in more. */
const MAX_MESSAGE_ID_LENGTH = 255;
/** One EDU is for the devices of a few users. */
const MAX_USERS = 2_000;

interface DirectToDevice {
  readonly sender: UserId;
  readonly type: string;
  readonly messageId: string;
  readonly messages: JsonObject;
}

function readDirectToDevice(content: JsonObject): DirectToDevice {
  const { sender, type, message_id: messageId, messages } = content;
  if (typeof sender !== 'string' || !isUserId(sender)) throw badJson('sender must be a user ID');
  if (typeof type !== 'string' || type === '' || Buffer.byteLength(type) > 255) {
    throw badJson('type must be text of 1 to 255 bytes');
  }
  if (typeof messageId !== 'string' || messageId === '' || messageId.length > MAX_MESSAGE_ID_LENGTH) {
    throw badJson(`message_id must be text of 1 to ${MAX_MESSAGE_ID_LENGTH} characters`);
  }
  if (!isJsonObject(messages)) throw badJson('messages must be an object');
  if (Object.keys(messages).length > MAX_USERS) throw tooLarge(`Messages may be for ${MAX_USERS} users at most`);
  return { sender, type, messageId, messages };
}

/** Messages from devices of other servers (spec: server-server API, "Send-to-device messaging"). */
export function toDeviceEdus(toDevice: Pick<ToDevice, 'accept'>): Readonly<Record<string, EduHandler>> {
  return {
    'm.direct_to_device': {
      accept: (origin, content) => {
        const message = readDirectToDevice(content);
        if (serverNameOf(message.sender) !== origin) throw forbidden('A server speaks for its own users only');
        toDevice.accept(origin, message);
      },
    },
  };
}
