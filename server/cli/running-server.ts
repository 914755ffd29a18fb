import type { Ports } from '../appliance/homeserver.ts';
import type { Config } from '../config/types.ts';
import type { Logger } from '../util/log.ts';

/** What the command line needs of a server that runs. */
export interface RunningServer {
  stop(): Promise<void>;
  /** Reads certificates anew. */
  reload(): void;
  /** The machine slept or its network changed: what waited for another server or a later time goes on. */
  wake(): void;
  /** Where it listens. An address is an IP address, or the path of a socket file (then the port is 0). */
  readonly addresses: readonly {
    readonly address: string;
    readonly port: number;
    readonly tls: boolean;
    readonly resources: readonly string[];
  }[];
  /** A page that can be opened once, to set the server up. */
  readonly setupLink?: string | undefined;
}

/** What a program that keeps it running has of it besides. */
export interface RunningHomeserver extends RunningServer {
  readonly ports: Ports;
}

/** Starts a server, and resolves when it answers. */
export type StartServer = (
  config: Config,
  log: Logger,
  options: { readonly setupLink?: boolean },
) => Promise<RunningServer>;
