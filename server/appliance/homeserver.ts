import type { ServerName } from '../matrix/identifiers.ts';
import type { BackupSource } from './backups/port.ts';
import type { EchoPort } from './doctor/port.ts';
import type { InvitationsPort } from './invitations/port.ts';
import type { MediaPort } from './media/port.ts';
import type { PeoplePort } from './people/port.ts';
import type { RoomsPort } from './rooms/port.ts';
import type { RegistrationPort } from './settings/port.ts';
import type { AccountsPort } from './setup/port.ts';
import type { StatusPort } from './status/port.ts';

/**
 * What the appliance does to the homeserver and knows of it, by areas. Each area says what it needs in a `port.ts` of its
 * own; `server/appliance-ports/` makes them of the server's parts, which nothing here knows.
 */
export interface Ports {
  readonly people: PeoplePort;
  readonly invitations: InvitationsPort;
  readonly registration: RegistrationPort;
  readonly rooms: RoomsPort;
  readonly media: MediaPort;
  readonly accounts: AccountsPort;
  readonly backups: BackupSource;
  readonly echo: EchoPort;
  readonly status: StatusPort;
}

/** The homeserver while it runs. */
export interface Homeserver {
  readonly serverName: ServerName;
  /** What clients are given as its address: `public_baseurl`, or where it listens. Without a slash at its end. */
  readonly clientUrl: string;
  /** The same, and where else clients in the same network find it. */
  readonly clientUrls: readonly string[];
  /** Where it listens, on this machine. An address is an IP address, or the path of a socket file (then the port is 0). */
  readonly addresses: readonly {
    readonly address: string;
    readonly port: number;
    readonly tls: boolean;
    readonly resources: readonly string[];
  }[];
  readonly ports: Ports;
  stop(): Promise<void>;
  /** Reads certificates anew. */
  reload(): void;
  /** The machine slept, or its network changed. */
  wake(): void;
}
