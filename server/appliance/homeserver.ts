import type { ServerName } from '../matrix/identifiers.ts';
import type { AccountsPort } from './setup/port.ts';

/**
 * What the appliance does to the homeserver and knows of it, by areas. Each area says what it needs in a `port.ts` of its
 * own; `server/appliance-ports/` makes them of the server's parts, which nothing here knows.
 */
export interface Ports {
  readonly accounts: AccountsPort;
}

/** The homeserver while it runs. */
export interface Homeserver {
  readonly serverName: ServerName;
  /** What clients are given as its address: `public_baseurl`, or where it listens. Without a slash at its end. */
  readonly clientUrl: string;
  readonly ports: Ports;
  stop(): Promise<void>;
  /** Reads certificates anew. */
  reload(): void;
  /** The machine slept, or its network changed. */
  wake(): void;
}
