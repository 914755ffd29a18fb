import { forbidden, invalidParam, MatrixError, notFound } from '../../../matrix/errors.ts';
import { isRoomAlias, localpartOf, type RoomAlias, type RoomId, serverNameOf } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { WriteTx } from '../../../storage/types.ts';
import type { AliasStore } from '../store/aliases.ts';
import { checkCanonicalAlias, checkFirstCanonicalAlias, withoutAlias } from './canonical-alias.ts';
import { type Actor, type AliasTarget, type DirectoryNeeds, requireActive } from './needs.ts';
import { compileRules } from './rules.ts';

/** Aliases of rooms, those of other servers included where these can be asked. */
export interface Aliases {
  /** Undefined where nobody knows the alias. */
  find(alias: RoomAlias): Promise<AliasTarget | undefined>;
  /** This server's aliases of a room. */
  list(roomId: RoomId): RoomAlias[];
  /** @throws MatrixError M_UNKNOWN (409) if it is taken, M_FORBIDDEN, M_INVALID_PARAM, M_EXCLUSIVE, M_NOT_FOUND */
  create(by: Actor, alias: RoomAlias, roomId: RoomId): void;
  /** Deletes an alias, and takes it out of the room's m.room.canonical_alias if the user may. */
  delete(by: Actor, alias: RoomAlias): Promise<void>;
  /**
   * The alias a new room is to get.
   * @throws MatrixError M_INVALID_PARAM, M_EXCLUSIVE, M_ROOM_IN_USE
   */
  prepare(by: Actor, localpart: string): RoomAlias;
  /** Gives it to the room, in the write that makes that. @throws MatrixError M_FORBIDDEN, M_ROOM_IN_USE */
  insert(tx: WriteTx, by: Actor, alias: RoomAlias, roomId: RoomId): void;
  /** All of this server's aliases of one room lead to another from now on. */
  move(tx: WriteTx, from: RoomId, to: RoomId): void;
  /**
   * What a client may make a room's m.room.canonical_alias; `previous` is what it is now.
   * @throws MatrixError M_INVALID_PARAM, M_BAD_ALIAS
   */
  checkCanonicalAlias(roomId: RoomId, content: JsonObject, previous: JsonObject | undefined): Promise<void>;
  /** The same for a room that is yet to be made, with one alias at most. */
  checkFirstCanonicalAlias(content: JsonObject, alias: RoomAlias | undefined): void;
}

const CANONICAL_ALIAS = 'm.room.canonical_alias';
// Spec: appendices, "Room Aliases": any but ":" and NUL. Nobody could type or see the others here.
const UNUSABLE = /[\s\p{Cc}]/u;

export interface AliasParts {
  readonly store: AliasStore;
  /** Whether the user may change what the directory says of a room. */
  readonly mayManage: (by: Actor, roomId: RoomId) => boolean;
}

export function createAliases(needs: DirectoryNeeds, { store, mayManage }: AliasParts): Aliases {
  const { db, log, settings, events, state, members, sender, remote, reservations } = needs;
  const { serverName, requireMembershipForAliases } = settings;
  const isAllowed = compileRules(settings.aliasCreationRules);

  function requireLocal(alias: RoomAlias): void {
    if (serverNameOf(alias) !== serverName) throw invalidParam('Only aliases of this server can be changed here');
  }

  function checkUsable(by: Actor, alias: RoomAlias): void {
    if (UNUSABLE.test(localpartOf(alias))) throw invalidParam('The alias has characters that no alias may have');
    if (reservations?.mayChange(alias, by.appserviceId) === false) {
      throw new MatrixError('M_EXCLUSIVE', 'This alias is reserved for an application service');
    }
  }

  function checkRules(by: Actor, alias: RoomAlias, roomId: RoomId): void {
    if (!isAllowed({ userId: by.userId, roomId, aliases: [alias] })) {
      throw forbidden('This server does not let you create that alias');
    }
  }

  function findHere(alias: RoomAlias): AliasTarget | undefined {
    const stored = store.find(alias);
    if (stored === undefined) return undefined;
    const inside = members.listServers(stored.roomId);
    const isHere = inside.length === 0 || inside.includes(serverName);
    // Of no use to anybody who wants to join, unless it is in the room itself.
    const others = inside.filter((server) => server !== serverName);
    return { roomId: stored.roomId, servers: isHere ? [serverName, ...others] : others };
  }

  async function find(alias: RoomAlias): Promise<AliasTarget | undefined> {
    if (serverNameOf(alias) !== serverName) return remote?.findAlias(alias);
    const here = findHere(alias);
    if (here !== undefined || reservations === undefined) return here;
    return (await reservations.request(alias)) ? findHere(alias) : undefined;
  }

  /** Spec: `DELETE /directory/room/{roomAlias}`: the alias goes, whether or not the user may change the room's state. */
  async function forgetCanonical(by: Actor, alias: RoomAlias, roomId: RoomId): Promise<void> {
    const current = state.findCurrent(roomId, CANONICAL_ALIAS, '');
    const content = current === undefined ? undefined : withoutAlias(current.content, alias);
    if (content === undefined) return;
    try {
      await sender.send({ roomId, type: CANONICAL_ALIAS, sender: by.userId, stateKey: '', content });
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error;
      log.info({ roomId, userId: by.userId, error: error.message }, 'a deleted alias stays in the state of its room');
    }
  }

  return {
    find,
    list: (roomId) => store.list(roomId).map(({ alias }) => alias),
    move: (tx, from, to) => store.move(tx, from, to),
    checkCanonicalAlias: (roomId, content, previous) => checkCanonicalAlias(find, roomId, content, previous),
    checkFirstCanonicalAlias,

    create: (by, alias, roomId) => {
      requireActive(by);
      requireLocal(alias);
      checkUsable(by, alias);
      const isSpared = by.isAdmin || by.appserviceId !== undefined || !requireMembershipForAliases;
      if (!isSpared && !members.isJoined(roomId, by.userId)) {
        throw forbidden('Only members of a room may give it an alias');
      }
      if (events.findRoom(roomId) === undefined || members.countMembers(roomId, 'join') === 0) {
        throw notFound('This room is not known here, or nobody is in it');
      }
      checkRules(by, alias, roomId);
      const isNew = db.write((tx) => store.insert(tx, { alias, roomId, creator: by.userId }));
      if (!isNew) throw new MatrixError('M_UNKNOWN', `There is an alias ${alias} already`, { status: 409 });
    },

    delete: async (by, alias) => {
      requireActive(by);
      requireLocal(alias);
      const stored = store.find(alias);
      if (stored === undefined) throw notFound(`There is no room alias ${alias}`);
      const { roomId, creator } = stored;
      if (reservations?.mayChange(alias, by.appserviceId) === false) {
        throw new MatrixError('M_EXCLUSIVE', 'This alias is reserved for an application service');
      }
      const isOfService = by.appserviceId !== undefined && reservations !== undefined;
      if (creator !== by.userId && !isOfService && !mayManage(by, roomId)) {
        throw forbidden('You may not delete this alias');
      }
      db.write((tx) => store.remove(tx, alias));
      await forgetCanonical(by, alias, roomId);
    },

    prepare: (by, localpart) => {
      const alias = `#${localpart}:${serverName}`;
      // With a colon in it, the localpart would end before the server's name does.
      if (localpart.includes(':') || !isRoomAlias(alias))
        throw invalidParam('room_alias_name cannot be part of an alias');
      checkUsable(by, alias);
      if (store.find(alias) !== undefined) throw inUse(alias);
      return alias;
    },

    insert: (tx, by, alias, roomId) => {
      checkRules(by, alias, roomId);
      if (!store.insert(tx, { alias, roomId, creator: by.userId })) throw inUse(alias);
    },
  };
}

const inUse = (alias: RoomAlias): MatrixError => new MatrixError('M_ROOM_IN_USE', `The alias ${alias} is taken`);
