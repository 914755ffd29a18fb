import { forbidden, notFound } from '../../../matrix/errors.ts';
import type { RoomId } from '../../../matrix/identifiers.ts';
import { readPowerLevels } from '../../../matrix/power-levels.ts';
import type { WriteTx } from '../../../storage/types.ts';
import type { SummaryStore } from '../store/summaries.ts';
import { listNamed } from './canonical-alias.ts';
import { type Actor, type DirectoryNeeds, requireActive } from './needs.ts';
import { compileRules } from './rules.ts';

/** Which rooms the directory lists, and who may say so. */
export interface Publication {
  /** @throws MatrixError M_NOT_FOUND for a room that is not known here */
  isPublished(roomId: RoomId): boolean;
  /** @throws MatrixError M_NOT_FOUND, M_FORBIDDEN */
  setPublished(by: Actor, roomId: RoomId, published: boolean): void;
  /** Lists a new room, in the write that makes it. @throws MatrixError M_FORBIDDEN where the server's rules forbid it */
  publish(tx: WriteTx, by: Actor, roomId: RoomId): void;
  /** The directory of a network that an application service reaches. @throws MatrixError M_FORBIDDEN, M_NOT_FOUND */
  setInNetwork(by: Actor, networkId: string, roomId: RoomId, published: boolean): void;
  /** Another room takes this one's place in every directory. */
  move(tx: WriteTx, from: RoomId, to: RoomId): void;
  /** Administrators, and whoever may set the room's main alias, may change what the directory says of it. */
  mayManage(by: Actor, roomId: RoomId): boolean;
}

export function createPublication(
  { db, settings, state, members }: DirectoryNeeds,
  { store, listAliases }: { store: SummaryStore; listAliases: (roomId: RoomId) => readonly string[] },
): Publication {
  const isAllowed = compileRules(settings.publicationRules);

  function mayManage(by: Actor, roomId: RoomId): boolean {
    if (by.isAdmin) return true;
    if (!members.isJoined(roomId, by.userId)) return false;
    const find = (type: string): ReturnType<typeof state.findCurrent> => state.findCurrent(roomId, type, '');
    const levels = readPowerLevels(find('m.room.create'), find('m.room.power_levels'));
    return levels.powerLevelOf(by.userId) >= levels.requiredLevel('m.room.canonical_alias', true);
  }

  function requireKnown(roomId: RoomId): boolean {
    const isPublished = store.isPublished(roomId);
    if (isPublished === undefined) throw notFound('This room is not known here');
    return isPublished;
  }

  function checkRules(by: Actor, roomId: RoomId): void {
    const canonical = state.findCurrent(roomId, 'm.room.canonical_alias', '');
    const named =
      canonical === undefined ? [] : listNamed(canonical.content).filter((alias) => typeof alias === 'string');
    if (!isAllowed({ userId: by.userId, roomId, aliases: [...listAliases(roomId), ...named] })) {
      throw forbidden('This server does not let you publish that room');
    }
  }

  return {
    mayManage,
    isPublished: requireKnown,
    move: (tx, from, to) => store.move(tx, from, to),

    setPublished: (by, roomId, published) => {
      requireActive(by);
      const isPublished = requireKnown(roomId);
      if (!mayManage(by, roomId)) throw forbidden('You may not change what the directory says of this room');
      if (published) checkRules(by, roomId);
      if (published !== isPublished) db.write((tx) => store.setPublished(tx, roomId, published));
    },

    publish: (tx, by, roomId) => {
      checkRules(by, roomId);
      store.setPublished(tx, roomId, true);
    },

    setInNetwork: (by, networkId, roomId, published) => {
      if (by.appserviceId === undefined) throw forbidden('Only application services keep directories of networks');
      if (published) requireKnown(roomId);
      const instanceId = instanceIdOf(by.appserviceId, networkId);
      db.write((tx) => store.setInNetwork(tx, instanceId, roomId, published));
    },
  };
}

/** The `instance_id` of a network as `GET /thirdparty/protocols` gives it to clients. */
function instanceIdOf(appserviceId: string, networkId: string): string {
  return `${appserviceId}|${networkId}`;
}
