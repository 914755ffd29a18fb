/** Push: rules, counts, and the ways in which users are told. */
import type { Config } from './config/types.ts';
import type { Federation } from './federation/federation.ts';
import type { Mailer } from './mail/index.ts';
import type { UserId } from './matrix/identifiers.ts';
import { push, type PushMail, type PushNeeds } from './modules/push/index.ts';
import type { Rooms } from './rooms/rooms.ts';

export interface PushHouse
  extends Omit<PushNeeds, 'serverName' | 'events' | 'state' | 'members' | 'visibility' | 'http' | 'mail' | 'settings'> {
  readonly config: Config;
  readonly rooms: Rooms;
  readonly federation: Federation;
  readonly mailer: Mailer;
  readonly profiles: { find(userId: UserId): { readonly displayName?: string | undefined } | undefined };
  /** Whose mail address that is. */
  readonly findMailOwner: (address: string) => UserId | undefined;
}

export function composePush(house: PushHouse): ReturnType<typeof push> {
  const { config, rooms, federation } = house;
  const { events, state, members, visibility } = rooms;
  return push({
    ...house,
    serverName: config.serverName,
    events,
    state,
    members,
    visibility,
    http: federation.network.http,
    mail: mailAbout(house),
    settings: config.push,
  });
}

/** What mails about missed events take; undefined where none are sent. */
function mailAbout({ config, rooms, mailer, profiles, findMailOwner }: PushHouse): PushMail | undefined {
  const { email, publicBaseUrl } = config;
  if (email === undefined || !email.notifications) return undefined;
  return {
    mailer,
    addresses: { findOwner: findMailOwner },
    timeline: rooms.timeline,
    findDisplayName: (userId) => profiles.find(userId)?.displayName,
    settings: {
      forNewUsers: email.notificationsForNewUsers,
      delayMs: email.notificationDelayMs,
      clientBaseUrl: email.clientBaseUrl,
      publicBaseUrl,
    },
  };
}
