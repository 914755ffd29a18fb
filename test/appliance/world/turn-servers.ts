/** TURN servers: one that a test plays, and a real one. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ATTRIBUTE,
  decodeMessage,
  encodeAddress,
  encodeMessage,
  findAttribute,
  longTermKey,
  type Message,
  METHOD,
  textOf,
} from '../../../server/appliance/calls/turn/message.ts';
import type { TestAuthority } from '../../kit/certificates.ts';
import { eventually } from '../../kit/test-network.ts';

export type TurnMode =
  | 'public'
  | 'private'
  | 'stale'
  | 'swallows'
  | 'no-self'
  | 'open'
  | 'wrong-password'
  | 'forged'
  | 'full'
  | 'no-udp'
  | 'six-only'
  | 'no-relay'
  | 'forbidden'
  | 'nowhere'
  | 'silent'
  | 'garbage';

const REFUSALS: Partial<Record<TurnMode, readonly [number, string]>> = {
  'wrong-password': [401, 'Unauthorized'],
  full: [486, 'Allocation Quota Reached'],
  'no-relay': [440, 'Address Family not Supported'],
  'no-udp': [442, 'Unsupported Transport Protocol'],
  forbidden: [403, 'Forbidden'],
};

const RELAYS: Partial<Record<TurnMode, string>> = { private: '10.0.0.5', 'six-only': '2a01:4f8::99' };

/** Answers as a TURN server would, in the mood it is told; knows every password to be `SHA1` of nobody: it does not check. */
export class PlayedTurn implements AsyncDisposable {
  mode: TurnMode = 'public';
  /** How often a relay was given back. */
  released = 0;
  readonly port: number;
  readonly #socket: Socket;
  #staleOnce = true;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.port = socket.address().port;
    socket.on('message', (bytes, from) => this.#hear(bytes, from));
  }

  static async start(): Promise<PlayedTurn> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new PlayedTurn(socket);
  }

  #hear(bytes: Buffer, from: RemoteInfo): void {
    const message = decodeMessage(bytes);
    if (message === undefined || this.mode === 'silent') return;
    if (this.mode === 'garbage') return this.#socket.send('what?', from.port, from.address);
    const { method, transaction } = message;
    if (message.kind === 'indication') {
      if (this.mode !== 'swallows') this.#relayBack(message, from);
      return;
    }
    const error = (code: number, reason: string, more: Message['attributes'] = []): void => {
      const value = Buffer.concat([Buffer.from([0, 0, Math.floor(code / 100), code % 100]), Buffer.from(reason)]);
      this.#send({ method, kind: 'error', transaction, attributes: [[ATTRIBUTE.errorCode, value], ...more] }, from);
    };
    const challenge: Message['attributes'] = [
      [ATTRIBUTE.realm, Buffer.from('played')],
      [ATTRIBUTE.nonce, Buffer.from('once')],
    ];
    const isSigned = findAttribute(message, ATTRIBUTE.integrity) !== undefined;
    if (!isSigned && this.mode !== 'open') return error(401, 'Unauthorized', challenge);
    const isSix = findAttribute(message, ATTRIBUTE.family)?.readUInt8(0) === 2;
    if (this.mode === 'six-only' && method === METHOD.allocate && !isSix) {
      return error(440, 'Address Family not Supported');
    }
    const refusal = REFUSALS[this.mode];
    if (refusal !== undefined) return error(...refusal, challenge);
    if (this.mode === 'stale' && this.#staleOnce) {
      this.#staleOnce = false;
      return error(438, 'Stale Nonce', [[ATTRIBUTE.nonce, Buffer.from('twice')]]);
    }
    if (method === METHOD.permission && this.mode === 'no-self') return error(403, 'Forbidden IP');
    if (method === METHOD.refresh) this.released += 1;
    const relayed = { address: RELAYS[this.mode] ?? '51.15.0.99', port: 50_000 };
    const attributes: Message['attributes'] =
      method === METHOD.allocate && this.mode !== 'nowhere'
        ? [
            [ATTRIBUTE.relayed, encodeAddress(relayed, transaction)],
            [ATTRIBUTE.mapped, encodeAddress({ address: from.address, port: from.port }, transaction)],
            [ATTRIBUTE.software, Buffer.from('Played TURN')],
          ]
        : [];
    const key =
      this.mode === 'forged' ? longTermKey(textOf(message, ATTRIBUTE.username) ?? '', 'played', 'guessed') : undefined;
    this.#send({ method, kind: 'success', transaction, attributes }, from, key);
  }

  /** What is sent to the relay's own address comes back to whom the relay belongs to. */
  #relayBack(message: Message, from: RemoteInfo): void {
    const data = findAttribute(message, ATTRIBUTE.data) ?? Buffer.alloc(0);
    const { transaction } = message;
    const attributes: Message['attributes'] = [
      [ATTRIBUTE.peer, encodeAddress({ address: '51.15.0.99', port: 50_000 }, transaction)],
      [ATTRIBUTE.data, data],
    ];
    this.#send({ method: METHOD.data, kind: 'indication', transaction, attributes }, from);
  }

  #send(message: Message, to: RemoteInfo, key?: Buffer): void {
    this.#socket.send(encodeMessage(message, key), to.port, to.address);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await once(this.#socket, 'close');
  }
}

/** Whether a program is installed. */
export function isInstalled(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
}

const SERVER = 'turnserver';
const CLIENT = 'turnutils_uclient';

export const isCoturnHere = isInstalled(SERVER) && isInstalled(CLIENT);

/** A port that nobody listens on right now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** A real TURN server on 127.0.0.1. */
export class Coturn implements AsyncDisposable {
  readonly port: number;
  readonly tlsPort: number;
  readonly #process: ChildProcess;
  readonly #dir: string;

  private constructor(parts: { port: number; tlsPort: number; process: ChildProcess; dir: string }) {
    this.port = parts.port;
    this.tlsPort = parts.tlsPort;
    this.#process = parts.process;
    this.#dir = parts.dir;
  }

  static async start({ secret, authority }: { secret: string; authority: TestAuthority }): Promise<Coturn> {
    const dir = mkdtempSync(join(tmpdir(), 'hearth-coturn-'));
    const { certPath, keyPath } = await authority.issueTo(dir, { ipAddresses: ['127.0.0.1'] });
    const [port, tlsPort] = [await freePort(), await freePort()];
    const child = spawn(
      SERVER,
      [
        [
          '--listening-ip=127.0.0.1',
          '--relay-ip=127.0.0.1',
          `--listening-port=${port}`,
          `--tls-listening-port=${tlsPort}`,
        ],
        ['--use-auth-secret', `--static-auth-secret=${secret}`, '--realm=hearth.test', '--allow-loopback-peers'],
        [
          `--cert=${certPath}`,
          `--pkey=${keyPath}`,
          '--no-cli',
          '--no-dtls',
          '-n',
          '--log-file=stdout',
          '--no-software-attribute=0',
        ],
        [`--pidfile=${join(dir, 'pid')}`, `--userdb=${join(dir, 'turndb')}`, '--simple-log'],
      ].flat(),
      { cwd: dir, stdio: 'ignore' },
    );
    const coturn = new Coturn({ port, tlsPort, process: child, dir });
    await eventually('coturn listens', () => canConnect(port));
    await eventually('coturn listens for TLS', () => canConnect(tlsPort));
    return coturn;
  }

  /** Has coturn's own client send some packets through it. */
  async relayWith({ username, password }: { username: string; password: string }): Promise<{ lost: number }> {
    const client = spawn(
      CLIENT,
      ['-y', '-u', username, '-w', password, '-p', String(this.port), '-n', '5', '-m', '1', '-c', '127.0.0.1'],
      { cwd: this.#dir },
    );
    let output = '';
    client.stdout.on('data', (piece: Buffer) => (output += piece.toString()));
    client.stderr.on('data', (piece: Buffer) => (output += piece.toString()));
    await once(client, 'close');
    const lost = /Total lost packets (\d+)/.exec(output)?.[1];
    if (lost === undefined) throw new Error(`turnutils_uclient did not get through: ${output.slice(-2000)}`);
    return { lost: Number(lost) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#process.exitCode === null ? once(this.#process, 'close') : undefined;
    this.#process.kill('SIGKILL');
    await closed;
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** Whether somebody listens on a port of this machine. */
export function canConnect(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(port, '127.0.0.1');
  socket.once('connect', () => {
    socket.destroy();
    resolve(true);
  });
  socket.once('error', () => resolve(false));
  return promise;
}
