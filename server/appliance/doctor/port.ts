import type { ServerName } from '../../matrix/identifiers.ts';

/** What the doctor knows of our own server beyond what others see. */
export interface OwnServer {
  readonly serverName: ServerName;
  /** Key ID → public key, unpadded base64. */
  readonly keys: Readonly<Record<string, string>>;
  /** The address given to clients, where it was set; without a slash at its end. */
  readonly clientUrl: string | undefined;
  /** Where other servers' requests come in on this machine. */
  readonly listeners: readonly OwnListener[];
  /** Other servers' requests come in by a Unix socket as well, which only a proxy on this machine can use. */
  readonly isBySocket: boolean;
  /** Where people's apps come in, at the addresses that are listened on. */
  readonly forClients: readonly OwnListener[];
  /** It deals with no other server, or has a name that only means something at home. */
  readonly isForHomeOnly: boolean;
  /** The value of an Authorization header for a request of ours. */
  sign(request: { readonly method: string; readonly uri: string; readonly destination: ServerName }): string;
  /** Only where the homeserver runs in this program. */
  readonly echo?: EchoPort | undefined;
  /** The last server whose signed request came in, since ours was started. Only where it runs in this program. */
  readonly heard?: (() => Heard | undefined) | undefined;
  /** The largest file that people may upload, bytes. */
  readonly maxUploadBytes: number;
}

/** Another server that got through to ours. */
export interface Heard {
  readonly server: ServerName;
  /** Ms since the epoch. */
  readonly at: number;
}

export interface OwnListener {
  readonly address: string;
  readonly port: number;
  readonly tls: boolean;
}

/** How a request arrived. */
export interface Echo {
  /** Path and query as they came. */
  readonly uri: string;
  readonly host: string;
  /** From where, as far as the server can tell. */
  readonly ip: string;
  readonly forwardedFor: string | undefined;
  readonly forwardedProto: string | undefined;
  /** The Authorization header, as it arrived. */
  readonly authorization: string | undefined;
}

/** Tells how a request of our own arrived, to whoever knows a secret that holds for one request. */
export interface EchoPort {
  /** The path to ask, with what in it must stay as it is. */
  prepare(): { readonly path: string; forget(): void };
  /** The last server whose signed request came in, since this one was started. */
  heard(): Heard | undefined;
}
