import type { UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { RoomVersion } from '../../../matrix/room-versions.ts';

export type Preset = 'private_chat' | 'public_chat' | 'trusted_private_chat';

interface PresetRules {
  readonly joinRule: 'invite' | 'public';
  readonly letsGuestsIn: boolean;
  /** The level needed to invite. */
  readonly inviteLevel: number;
  /** Whether whoever is invited at the start is as powerful as the creator. */
  readonly trustsInvitees: boolean;
}

/** Spec: `POST /createRoom`, the table of presets. */
const PRESETS: Readonly<Record<Preset, PresetRules>> = {
  private_chat: { joinRule: 'invite', letsGuestsIn: true, inviteLevel: 0, trustsInvitees: false },
  trusted_private_chat: { joinRule: 'invite', letsGuestsIn: true, inviteLevel: 0, trustsInvitees: true },
  public_chat: { joinRule: 'public', letsGuestsIn: false, inviteLevel: 50, trustsInvitees: false },
};

export function trustsInvitees(preset: Preset): boolean {
  return PRESETS[preset].trustsInvitees;
}

/** A state event of a room that is being made. */
export interface StateDraft {
  readonly type: string;
  readonly stateKey: string;
  readonly content: JsonObject;
}

/** The events a preset sets, in the spec's order. */
export function presetState(preset: Preset, { encrypted }: { encrypted: boolean }): StateDraft[] {
  const { joinRule, letsGuestsIn } = PRESETS[preset];
  const state: StateDraft[] = [
    { type: 'm.room.join_rules', stateKey: '', content: { join_rule: joinRule } },
    { type: 'm.room.history_visibility', stateKey: '', content: { history_visibility: 'shared' } },
  ];
  // A room that says nothing of guests keeps them out (spec: m.room.guest_access), so "forbidden" need not be said.
  if (letsGuestsIn) state.push({ type: 'm.room.guest_access', stateKey: '', content: { guest_access: 'can_join' } });
  if (encrypted)
    state.push({ type: 'm.room.encryption', stateKey: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } });
  return state;
}

const CREATOR_LEVEL = 100;
const TOMBSTONE = 'm.room.tombstone';
/** Out of reach of administrators: whoever replaces a room is the creator of the next one (spec: room version 12). */
const PRIVILEGED_TOMBSTONE_LEVEL = 150;

/**
 * The m.room.power_levels of a new room. `overrides` are applied one after the other, each key of theirs replacing the
 * whole of what was there.
 */
export function initialPowerLevels({
  preset,
  version,
  creator,
  invitees,
  overrides,
}: {
  readonly preset: Preset;
  readonly version: RoomVersion;
  readonly creator: UserId;
  readonly invitees: readonly UserId[];
  readonly overrides: readonly (JsonObject | undefined)[];
}): JsonObject {
  const { inviteLevel } = PRESETS[preset];
  const powerful = trustsInvitees(preset) ? [creator, ...invitees] : [creator];
  // Creators of version 12 are above all levels and must not be listed.
  const users = version.privilegedCreators ? [] : powerful.map((user) => [user, CREATOR_LEVEL] as const);
  const levels: Record<string, JsonValue> = {
    users: Object.fromEntries(users),
    users_default: 0,
    events: {
      'm.room.name': 50,
      'm.room.power_levels': 100,
      'm.room.history_visibility': 100,
      'm.room.canonical_alias': 50,
      'm.room.avatar': 50,
      [TOMBSTONE]: version.privilegedCreators ? PRIVILEGED_TOMBSTONE_LEVEL : 100,
      'm.room.server_acl': 100,
      'm.room.encryption': 100,
    },
    events_default: 0,
    state_default: 50,
    ban: 50,
    kick: 50,
    redact: 50,
    invite: inviteLevel,
  };
  for (const override of overrides) Object.assign(levels, override);
  return version.privilegedCreators ? withTombstoneLevel(levels) : levels;
}

/**
 * Spec: `POST /createRoom`, 3: from version 12 on, tombstones take more than other state does. A level that was given on
 * purpose stays.
 */
function withTombstoneLevel(levels: JsonObject): JsonObject {
  const { events, state_default: stateDefault } = levels;
  if (!isJsonObject(events)) return levels;
  const given = events[TOMBSTONE] ?? PRIVILEGED_TOMBSTONE_LEVEL;
  if (given !== PRIVILEGED_TOMBSTONE_LEVEL) return levels;
  const others = typeof stateDefault === 'number' ? stateDefault : 50;
  return { ...levels, events: { ...events, [TOMBSTONE]: Math.max(PRIVILEGED_TOMBSTONE_LEVEL, others + 1) } };
}
