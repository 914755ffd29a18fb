import { forbidden, MatrixError, notFound } from '../../../matrix/errors.ts';
import type { RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import { readPowerLevels } from '../../../matrix/power-levels.ts';
import { findRoomVersion, type RoomVersion } from '../../../matrix/room-versions.ts';
import type { PersistedEvent } from '../../../rooms/types.ts';
import type { WriteTx } from '../../../storage/types.ts';
import type { Actor, UpgradeNeeds } from './needs.ts';
import { restrictedLevels } from './power-levels.ts';
import { planReplacement, type Replacement, type StateDraft } from './replacement.ts';
import { userDataTransfer } from './user-data.ts';

/** A room is to be replaced by one of another version. */
export interface UpgradeOrder {
  readonly roomId: RoomId;
  readonly version: string;
  /** Creators besides the one who upgrades, where the version has such. */
  readonly additionalCreators: readonly UserId[];
}

/** Replaces rooms. */
export interface RoomUpgrades {
  /**
   * Makes the room that replaces another, and closes that. Resolves with the new room's ID.
   * @throws MatrixError M_UNSUPPORTED_ROOM_VERSION, M_NOT_FOUND, M_FORBIDDEN, M_USER_SUSPENDED, M_LIMIT_EXCEEDED
   */
  upgrade(by: Actor, order: UpgradeOrder): Promise<RoomId>;
}

const TOMBSTONE = 'm.room.tombstone';

export function createUpgrades(needs: UpgradeNeeds): RoomUpgrades {
  const { log, events, state, members, sender, profiles, directory, limit } = needs;
  const transferUserData = userDataTransfer(needs);

  function requireCreate(roomId: RoomId): PersistedEvent {
    const create = events.findRoom(roomId) === undefined ? undefined : state.findCurrent(roomId, 'm.room.create', '');
    if (create === undefined) throw notFound('This room is not known here');
    return create;
  }

  /** Spec: "Room Upgrades", server behaviour, 1. */
  function checkMayReplace(by: Actor, roomId: RoomId, create: PersistedEvent): void {
    if (by.isSuspended) {
      throw new MatrixError('M_USER_SUSPENDED', 'You cannot do this while your account is suspended');
    }
    if (!members.isJoined(roomId, by.userId)) throw forbidden('You are not in this room');
    const levels = readPowerLevels(create, state.findCurrent(roomId, 'm.room.power_levels', ''));
    if (levels.powerLevelOf(by.userId) < levels.requiredLevel(TOMBSTONE, true)) {
      throw forbidden('You do not have the power level to replace this room');
    }
  }

  async function make(user: UserId, old: RoomId, version: RoomVersion, plan: Replacement): Promise<RoomId> {
    const profile = profiles.find(user);
    const join: StateDraft = {
      type: 'm.room.member',
      stateKey: user,
      content: {
        membership: 'join',
        ...(profile?.displayName === undefined ? {} : { displayname: profile.displayName }),
        ...(profile?.avatarUrl === undefined ? {} : { avatar_url: profile.avatarUrl }),
      },
    };
    const sendTombstone = (tx: WriteTx, replacement: RoomId): PersistedEvent =>
      sender.sendWithin(tx, {
        roomId: old,
        type: TOMBSTONE,
        sender: user,
        stateKey: '',
        content: { body: 'This room has been replaced', replacement_room: replacement },
      });
    const { roomId } = await sender.createRoom({
      version,
      creator: user,
      createContent: (tx, replacement) => {
        if (replacement === undefined) return plan.createContent;
        const { eventId } = sendTombstone(tx, replacement);
        return { ...plan.createContent, predecessor: { room_id: old, event_id: eventId } };
      },
      events: () => [join, ...plan.state].map((draft) => ({ ...draft, sender: user })),
      alongside: (tx, replacement) => {
        // Where there is a tombstone already, the join has found it, and brought everything over.
        if (!version.roomIdIsCreateHash) return;
        sendTombstone(tx, replacement);
        directory.move(tx, old, replacement);
        transferUserData(tx, user, old, replacement);
      },
    });
    return roomId;
  }

  /** Changes the old room further, where the user may. The rooms have changed places already. */
  async function tryToSet(user: UserId, roomId: RoomId, type: string, content: JsonObject | undefined): Promise<void> {
    if (content === undefined) return;
    try {
      await sender.send({ roomId, type, sender: user, stateKey: '', content });
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error;
      log.info({ roomId, type, error: error.message }, 'a replaced room could not be closed entirely');
    }
  }

  return {
    upgrade: async (by, { roomId, version, additionalCreators }) => {
      const newVersion = requireVersion(version);
      const create = requireCreate(roomId);
      checkMayReplace(by, roomId, create);
      limit.checkFor(by, by.userId);
      const { userId: user } = by;
      const plan = planReplacement(needs, { roomId, create, version: newVersion, user, additionalCreators });
      const oldLevels = state.findCurrent(roomId, 'm.room.power_levels', '');
      const replacement = await make(user, roomId, newVersion, plan);
      await tryToSet(user, roomId, 'm.room.canonical_alias', plan.oldCanonicalAlias);
      await tryToSet(
        user,
        roomId,
        'm.room.power_levels',
        oldLevels === undefined ? undefined : restrictedLevels(oldLevels),
      );
      return replacement;
    },
  };
}

function requireVersion(id: string): RoomVersion {
  const version = findRoomVersion(id);
  if (version === undefined) {
    throw new MatrixError('M_UNSUPPORTED_ROOM_VERSION', `This server does not know room version ${id}`);
  }
  return version;
}
