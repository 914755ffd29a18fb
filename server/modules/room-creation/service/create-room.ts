import { forbidden, MatrixError } from '../../../matrix/errors.ts';
import type { RoomAlias, RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { RoomVersion } from '../../../matrix/room-versions.ts';
import type { Actor, CreationNeeds } from './needs.ts';
import { createContentOf, hasOthers, initialStateOf, inviteesOf, requireVersion, type RoomOrder } from './order.ts';
import { initialPowerLevels, type Preset, presetState, type StateDraft } from './presets.ts';

/** Makes rooms. */
export interface RoomCreation {
  /**
   * Makes a room, all of it or nothing, and then invites whom it is for. A user ID alone stands for the server acting in
   * that user's name, unlimited.
   * @throws MatrixError M_UNSUPPORTED_ROOM_VERSION, M_ROOM_IN_USE, M_INVALID_ROOM_STATE, M_BAD_JSON, M_INVALID_PARAM,
   * M_FORBIDDEN, M_LIMIT_EXCEEDED and so on before there is a room; what refused an invite (the first, if several are
   * refused) when the room is there
   */
  createRoom(who: Actor | UserId, order: RoomOrder): Promise<RoomId>;
}

/** What is known of the room once everything has been checked. */
interface Plan {
  readonly version: RoomVersion;
  readonly createContent: JsonObject;
  /** All events after the creator's join. */
  readonly state: readonly StateDraft[];
  readonly alias: RoomAlias | undefined;
  readonly invitees: readonly UserId[];
}

const POWER_LEVELS = 'm.room.power_levels';
const CANONICAL_ALIAS = 'm.room.canonical_alias';

export function createRoomCreation(needs: CreationNeeds): RoomCreation {
  const { log, settings, limit, sender, profiles, directory, invites } = needs;

  const actorFor = (userId: UserId): Actor => ({
    userId,
    isGuest: false,
    isAdmin: true,
    isSuspended: false,
    rateLimited: false,
    appserviceId: undefined,
  });

  function checkMayCreate(by: Actor): void {
    if (by.isSuspended) {
      throw new MatrixError('M_USER_SUSPENDED', 'You cannot do this while your account is suspended');
    }
    if (by.isGuest) throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests may not make rooms');
  }

  /** What would be refused to them later is better refused while there is no room. */
  function checkInvites(by: Actor, order: RoomOrder, invitees: readonly UserId[], createContent: JsonObject): void {
    const addresses = order.inviteByAddress ?? [];
    if (invitees.length + addresses.length === 0) return;
    if (settings.blockNonAdminInvites && !by.isAdmin) {
      throw forbidden('Only administrators of this server may invite');
    }
    if (addresses.length > 0 && invites.inviteByAddress === undefined) {
      throw new MatrixError('M_THREEPID_DENIED', 'This server does not invite by e-mail address or phone number');
    }
    if (hasOthers(invitees, settings.serverName)) {
      if (!invites.reachesOtherServers) throw forbidden('Users of other servers cannot be invited from this one');
      if (createContent['m.federate'] === false)
        throw forbidden('The room would not be open to users of other servers');
    }
    const unwilling = invitees.find((invitee) => invites.mayInvite?.(by.userId, invitee) === false);
    if (unwilling !== undefined) throw new MatrixError('M_INVITE_BLOCKED', `${unwilling} does not want to be invited`);
    invites.checkLimits(by, invitees);
  }

  function plan(by: Actor, order: RoomOrder): Plan {
    const version = requireVersion(order.version ?? settings.defaultVersion);
    const preset: Preset = order.preset ?? (order.visibility === 'public' ? 'public_chat' : 'private_chat');
    const invitees = inviteesOf(order, by.userId);
    const createContent = createContentOf(order, { version, preset, creator: by.userId, invitees });
    const given = initialStateOf(order);
    checkInvites(by, order, invitees, createContent);
    const alias = order.aliasLocalpart === undefined ? undefined : directory.prepareAlias(by, order.aliasLocalpart);
    return {
      version,
      createContent,
      alias,
      invitees,
      state: stateOf(by, order, { version, preset, invitees, given, alias }),
    };
  }

  /** Spec: `POST /createRoom`, the order of events, 3 to 7. */
  function stateOf(
    by: Actor,
    order: RoomOrder,
    {
      version,
      preset,
      invitees,
      given,
      alias,
    }: Pick<Plan, 'version' | 'invitees' | 'alias'> & { preset: Preset; given: readonly StateDraft[] },
  ): StateDraft[] {
    const { encryptionByDefault } = settings;
    const encrypted = encryptionByDefault === 'all' || (encryptionByDefault === 'invite' && preset !== 'public_chat');
    const find = (type: string): StateDraft | undefined =>
      given.find((draft) => draft.type === type && draft.stateKey === '');
    const givenAlias = find(CANONICAL_ALIAS);
    if (givenAlias !== undefined) directory.checkFirstCanonicalAlias(givenAlias.content, alias);

    const powerLevels = initialPowerLevels({
      preset,
      version,
      creator: by.userId,
      invitees,
      overrides: [settings.powerLevelOverrides[preset], order.powerLevels],
    });
    const named: StateDraft[] = [];
    if (order.name !== undefined) named.push({ type: 'm.room.name', stateKey: '', content: { name: order.name } });
    if (order.topic !== undefined)
      named.push({ type: 'm.room.topic', stateKey: '', content: topicContent(order.topic) });
    const isNamed = ({ type, stateKey }: StateDraft): boolean =>
      stateKey === '' && named.some((draft) => draft.type === type);
    const isGiven = ({ type }: StateDraft): boolean => find(type) !== undefined;

    return [
      // In the place of the first levels a user's own may go beyond what the creator would have under those.
      find(POWER_LEVELS) ?? { type: POWER_LEVELS, stateKey: '', content: powerLevels },
      ...(alias === undefined || givenAlias !== undefined
        ? []
        : [{ type: CANONICAL_ALIAS, stateKey: '', content: { alias } }]),
      ...presetState(preset, { encrypted }).filter((draft) => !isGiven(draft)),
      ...given.filter((draft) => draft !== find(POWER_LEVELS) && !isNamed(draft)),
      ...named,
    ];
  }

  async function make(by: Actor, order: RoomOrder, { version, createContent, state, alias }: Plan): Promise<RoomId> {
    const { userId } = by;
    const profile = profiles.find(userId);
    const join: StateDraft = {
      type: 'm.room.member',
      stateKey: userId,
      content: {
        membership: 'join',
        ...(profile?.displayName === undefined ? {} : { displayname: profile.displayName }),
        ...(profile?.avatarUrl === undefined ? {} : { avatar_url: profile.avatarUrl }),
      },
    };
    let isMade = false;
    try {
      const { roomId } = await sender.createRoom({
        version,
        creator: userId,
        createContent,
        events: () => [join, ...state].map((draft) => ({ ...draft, sender: userId })),
        alongside: (tx, newRoom) => {
          isMade = true;
          if (alias !== undefined) directory.insertAlias(tx, by, alias, newRoom);
          if (order.visibility === 'public') directory.publish(tx, by, newRoom);
        },
      });
      return roomId;
    } catch (error) {
      // What the rules of rooms refuse here is nobody's lack of a right, but a mistake in what was asked for.
      if (!isMade && error instanceof MatrixError && error.errcode === 'M_FORBIDDEN') {
        throw new MatrixError('M_INVALID_ROOM_STATE', `The room cannot be made so: ${error.message}`);
      }
      throw error;
    }
  }

  /** Each is tried, whatever comes of the others. */
  async function inviteAll(by: Actor, roomId: RoomId, order: RoomOrder, invitees: readonly UserId[]): Promise<void> {
    const { inviteByAddress } = invites;
    const options = { isDirect: order.isDirect ?? false };
    const asked = [
      ...invitees.map((invitee) => () => invites.invite(by, roomId, invitee, options)),
      ...(order.inviteByAddress ?? []).map((address) => () => inviteByAddress?.(by, roomId, address, options)),
    ];
    const refusals: MatrixError[] = [];
    for (const invite of asked) {
      try {
        await invite();
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        log.info({ roomId, error: error.message }, 'an invite to a new room was refused');
        refusals.push(error);
      }
    }
    // Spec: `POST /createRoom`, 403: whoever made the room hears that somebody could not be invited.
    const [first] = refusals;
    if (first !== undefined) throw first;
  }

  return {
    createRoom: async (who, order) => {
      const by = typeof who === 'string' ? actorFor(who) : who;
      checkMayCreate(by);
      const planned = plan(by, order);
      limit.checkFor(by, by.userId);
      const roomId = await make(by, order, planned);
      await inviteAll(by, roomId, order, planned.invitees);
      return roomId;
    },
  };
}

/** Spec: "m.room.topic": both forms, since clients know one or the other. */
function topicContent(topic: string): JsonObject {
  return { topic, 'm.topic': { 'm.text': [{ body: topic }] } };
}
