/** The ways to a TURN server: datagrams, or a stream in which messages follow one another. */
import { createSocket } from 'node:dgram';
import { isIPv6, type Socket } from 'node:net';
import { codeOf } from '../../doctor/world.ts';
import { ConnectError } from '../../doctor/connection.ts';
import { messageLength } from './message.ts';

export interface Transport {
  /** What was sent may get lost and is to be sent again. */
  readonly isLossy: boolean;
  send(bytes: Buffer): void;
  /** One listener for messages, one for the end. */
  listen(onMessage: (bytes: Buffer) => void, onEnd: (error: ConnectError) => void): void;
  close(): void;
}

const LONGEST_MESSAGE = 64 * 1024;

export async function openUdp(address: string, port: number): Promise<Transport> {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let onEnd = (error: ConnectError): void => reject(error);
  socket.on('error', (error) =>
    onEnd(new ConnectError(codeOf(error) === 'ECONNREFUSED' ? 'refused' : 'no-way', error.message, error)),
  );
  // Connected, it hears from that server only, and of ports where nobody listens.
  socket.connect(port, address, () => resolve());
  try {
    await promise;
  } catch (error) {
    socket.close();
    throw error;
  }
  let isClosed = false;
  return {
    isLossy: true,
    send: (bytes) => {
      if (!isClosed) socket.send(bytes);
    },
    listen: (onMessage, end) => {
      socket.on('message', onMessage);
      onEnd = end;
    },
    close: () => {
      if (!isClosed) socket.close();
      isClosed = true;
    },
  };
}

/** A TCP or TLS connection that is there already. */
export function overStream(socket: Socket): Transport {
  let rest = Buffer.alloc(0);
  return {
    isLossy: false,
    send: (bytes) => void socket.write(bytes),
    listen: (onMessage, onEnd) => {
      socket.on('data', (piece: Buffer) => {
        rest = Buffer.concat([rest, piece]);
        for (let size = messageLength(rest); size !== undefined && rest.length >= size; size = messageLength(rest)) {
          onMessage(rest.subarray(0, size));
          rest = rest.subarray(size);
        }
        const isNone = rest.length >= 20 && messageLength(rest) === undefined;
        if (isNone || rest.length > LONGEST_MESSAGE) onEnd(new ConnectError('closed', 'what came is no TURN'));
      });
      socket.on('error', (error) => onEnd(new ConnectError('closed', error.message, error)));
      socket.on('close', () => onEnd(new ConnectError('closed', 'the connection was closed')));
    },
    close: () => void socket.destroy(),
  };
}
