import type { Ports } from '../appliance/homeserver.ts';
import type { Composition } from '../compose.ts';
import type { Config } from '../config/types.ts';
import type { OpenDatabase } from '../storage/database.ts';
import { accountsPort } from './accounts.ts';
import { backupsPort } from './backups.ts';
import { invitationsPort } from './invitations.ts';
import { mediaPort } from './media.ts';
import { peoplePort } from './people.ts';
import { roomsPort } from './rooms.ts';
import { statusPort } from './status.ts';

/** What the appliance does with the homeserver, made of its parts. */
export function createPorts(parts: Composition & { readonly config: Config; readonly db: OpenDatabase }): Ports {
  return {
    people: peoplePort(parts),
    invitations: invitationsPort(parts),
    registration: parts.accounts.registrationGate,
    rooms: roomsPort(parts),
    media: mediaPort(parts),
    accounts: accountsPort(parts),
    backups: backupsPort(parts),
    echo: parts.echo,
    status: statusPort(parts),
  };
}
