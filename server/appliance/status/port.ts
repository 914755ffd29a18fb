import type { RemoteServer } from '../contract.ts';
import type { Activity } from './activity.ts';

/** What the page of the state of things rests on. Nothing here may cost more the longer the server has been in use. */
export interface StatusPort {
  /** People and devices of this server, rooms that somebody of it is in. */
  counts(): { readonly people: number; readonly devices: number; readonly rooms: number };
  readonly activity: Activity;
  federation(): {
    /** All that this server has had to do with, or has something for. */
    readonly servers: readonly RemoteServer[];
    /** Events and other things that wait to be sent, for all of them. */
    readonly queued: number;
    /** Rooms with events of others that are still to be taken in. */
    readonly catchingUpRooms: number;
  };
  /** What the content of media takes, bytes. */
  mediaBytes(): { readonly local: number; readonly remote: number };
}
