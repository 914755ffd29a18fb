import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import {
  type RoomAlias,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from '../../../matrix/identifiers.ts';
import type { Logger } from '../../../util/log.ts';
import { atMost } from '../../../util/lru.ts';
import { NamePattern } from './pattern.ts';

/** Names whose namespaces were looked up, for each application service and kind. */
const REMEMBERED_NAMES = 10_000;

interface Namespace {
  /** Matches from the first character on. */
  readonly pattern: RegExp;
  readonly exclusive: boolean;
}

/** What an application service is registered with (spec: application service API, "Registration"). */
export interface Registration {
  readonly id: string;
  /** Where it listens; undefined: nothing is sent to it. */
  readonly url: string | undefined;
  readonly asToken: string;
  readonly hsToken: string;
  readonly senderUserId: UserId;
  readonly rateLimited: boolean;
  readonly protocols: readonly string[];
  readonly receivesEphemeral: boolean;
  /** Device lists and counts of one-time keys (MSC3202). */
  readonly receivesDeviceNews: boolean;
  readonly namespaces: {
    readonly users: readonly Namespace[];
    readonly aliases: readonly Namespace[];
    readonly rooms: readonly Namespace[];
  };
}

/** Whether a name is in a namespace, and whether that is for one application service alone. */
type Place = 'exclusive' | 'shared' | undefined;

class Names {
  readonly #namespaces: readonly { readonly pattern: NamePattern; readonly exclusive: boolean }[];
  readonly #known = new LRUCache<string, { readonly place: Place }>(atMost(REMEMBERED_NAMES));

  constructor(namespaces: readonly Namespace[], onTimeout: () => void) {
    // Those that decide the most first.
    this.#namespaces = [...namespaces]
      .sort((a, b) => Number(b.exclusive) - Number(a.exclusive))
      .map(({ pattern, exclusive }) => ({ pattern: new NamePattern(pattern, onTimeout), exclusive }));
  }

  get isEmpty(): boolean {
    return this.#namespaces.length === 0;
  }

  placeOf(name: string): Place {
    if (this.isEmpty) return undefined;
    const known = this.#known.get(name);
    if (known !== undefined) return known.place;
    const found = this.#namespaces.find(({ pattern }) => pattern.matches(name));
    const place = found === undefined ? undefined : found.exclusive ? 'exclusive' : 'shared';
    this.#known.set(name, { place });
    return place;
  }
}

/** An application service: who it is and what is its own. */
export class ApplicationService {
  readonly registration: Registration;
  /** Whether it is remembered from where it uses the devices of its users. */
  readonly tracksAddresses: boolean;
  readonly #serverName: ServerName;
  readonly #users: Names;
  readonly #aliases: Names;
  readonly #rooms: Names;

  constructor(
    registration: Registration,
    { serverName, tracksAddresses, log }: { serverName: ServerName; tracksAddresses: boolean; log: Logger },
  ) {
    this.registration = registration;
    this.tracksAddresses = tracksAddresses;
    this.#serverName = serverName;
    const { id, namespaces } = registration;
    const names = (kind: 'users' | 'aliases' | 'rooms'): Names =>
      new Names(namespaces[kind], () =>
        log.warn({ appservice: id, namespaces: kind }, 'a pattern of an application service takes too long'),
      );
    this.#users = names('users');
    this.#aliases = names('aliases');
    this.#rooms = names('rooms');
  }

  get id(): string {
    return this.registration.id;
  }

  get senderUserId(): UserId {
    return this.registration.senderUserId;
  }

  get rateLimited(): boolean {
    return this.registration.rateLimited;
  }

  /** Whether the user is its sender or in one of its namespaces of users, which are of this server's users only. */
  covers(userId: UserId): boolean {
    return userId === this.senderUserId || this.#placeOfUser(userId) !== undefined;
  }

  /** Whether it alone may have such a user. */
  ownsUser(userId: UserId): boolean {
    return userId === this.senderUserId || this.#placeOfUser(userId) === 'exclusive';
  }

  /** Whether such a user is one it might make. */
  mayHave(userId: UserId): boolean {
    return this.#placeOfUser(userId) !== undefined;
  }

  hasAlias(alias: RoomAlias): boolean {
    return this.#aliases.placeOf(alias) !== undefined;
  }

  ownsAlias(alias: RoomAlias): boolean {
    return this.#aliases.placeOf(alias) === 'exclusive';
  }

  hasRoom(roomId: RoomId): boolean {
    return this.#rooms.placeOf(roomId) !== undefined;
  }

  get knowsAliases(): boolean {
    return !this.#aliases.isEmpty;
  }

  #placeOfUser(userId: UserId): Place {
    return serverNameOf(userId) === this.#serverName ? this.#users.placeOf(userId) : undefined;
  }
}

/** The application services of this server, as those who come before them need to know them. */
export class AppserviceRegistry {
  readonly services: readonly ApplicationService[];
  readonly #byToken: ReadonlyMap<string, ApplicationService>;

  constructor(options: {
    readonly registrations: readonly Registration[];
    readonly tracksAddresses: boolean;
    readonly serverName: ServerName;
    readonly log: Logger;
  }) {
    this.services = options.registrations.map((registration) => new ApplicationService(registration, options));
    this.#byToken = new Map(this.services.map((service) => [digest(service.registration.asToken), service]));
  }

  any(): boolean {
    return this.services.length > 0;
  }

  find(id: string): ApplicationService | undefined {
    return this.services.find((service) => service.id === id);
  }

  findByToken(token: string): ApplicationService | undefined {
    // Found by what cannot be guessed bit by bit, so how long it takes tells nothing.
    return this.any() ? this.#byToken.get(digest(token)) : undefined;
  }

  /** The service that alone may have users so called. */
  findExclusiveOwner(userId: UserId): ApplicationService | undefined {
    return this.services.find((service) => service.ownsUser(userId));
  }

  /**
   * Whether somebody may make or remove such an alias: an application service those of its namespaces, others those that
   * no application service has for itself alone.
   */
  mayChangeAlias(alias: RoomAlias, appserviceId: string | undefined): boolean {
    const owner = this.services.find((service) => service.ownsAlias(alias));
    if (appserviceId === undefined) return owner === undefined;
    return owner === undefined ? this.find(appserviceId)?.hasAlias(alias) === true : owner.id === appserviceId;
  }

  /** Whether a user belongs to an application service. */
  isUserOf(appserviceId: string, userId: UserId): boolean {
    return this.find(appserviceId)?.covers(userId) === true;
  }
}

function digest(token: string): string {
  return hash('sha256', token, 'base64');
}
