import type { RoomEvent } from '../events/event.ts';
import { isUserId, serverNameOf, type UserId } from '../identifiers.ts';
import type { PowerLevels } from '../power-levels.ts';
import { checkAliases } from './aliases.ts';
import {
  type AuthState,
  allowed,
  createEventIdOf,
  membershipIn,
  powerLevelsIn,
  rejected,
  type Verdict,
} from './auth-state.ts';
import { checkCreate } from './create.ts';
import { checkMember } from './member.ts';
import { checkPowerLevels } from './power-levels.ts';
import { checkRedactionEvent } from './redaction.ts';
import { checkThirdPartyInvite } from './third-party-invite.ts';

/**
 * The authorization rules of the event's room version (rooms/v1 … v12, "Authorisation rules") against a state of its
 * room, numbered here as in room version 12. What concerns the list of auth events itself is in `auth-events.ts`.
 *
 * Signatures were verified before, those of authorising servers included; `auth` must answer for the create event in
 * every version. Pure: the same event and state always get the same verdict.
 */
export function checkAuthRules(event: RoomEvent, auth: AuthState): Verdict {
  const { version } = event;
  // 1
  if (event.type === 'm.room.create') return checkCreate(event);
  // 2 (3.4 in older versions): there is a create event, and from version 12 on it is the one the room is named after.
  const create = auth.find('m.room.create', '');
  if (!create) return rejected('the room has no m.room.create event');
  if (version.roomIdIsCreateHash && createEventIdOf(event.roomId) !== create.eventId) {
    return rejected('the room ID does not stem from the m.room.create event');
  }
  // 4
  if (create.content['m.federate'] === false && serverNameOf(event.sender) !== serverNameOf(create.sender)) {
    return rejected('the room is not federated');
  }
  // 4 in versions 1 to 5
  if (version.aliasesAuthRule && event.type === 'm.room.aliases') return checkAliases(event);
  // 5
  if (event.type === 'm.room.member') return checkMember(event, create, auth);
  // 6
  if (membershipIn(auth, event.sender) !== 'join') return rejected('the sender is not in the room');
  // 7
  if (event.type === 'm.room.third_party_invite') return checkThirdPartyInvite(event, auth);
  // 8
  const levels = powerLevelsIn(auth);
  if (levels.requiredLevel(event.type, event.stateKey !== undefined) > levels.powerLevelOf(event.sender)) {
    return rejected('the sender lacks the power to send events of this type');
  }
  // 9
  if (event.stateKey?.startsWith('@') && event.stateKey !== event.sender) {
    const owner = version.ownedState ? ownerOf(event.stateKey) : undefined;
    const mayWrite = owner !== undefined && (owner === event.sender || outranks(levels, event.sender, owner));
    if (!mayWrite) return rejected('the state key is the ID of another user');
  }
  // 10
  if (event.type === 'm.room.power_levels') return checkPowerLevels(event, create, auth);
  // 11 in versions 1 and 2
  if (version.redactionsInAuthRules && event.type === 'm.room.redaction') return checkRedactionEvent(event, levels);
  // 11
  return allowed;
}

/** The user whose ID a state key begins with, up to its end or an underscore behind the colon (MSC3757). */
function ownerOf(stateKey: string): UserId | undefined {
  const end = stateKey.indexOf('_', stateKey.indexOf(':'));
  const owner = end === -1 ? stateKey : stateKey.slice(0, end);
  return isUserId(owner) ? owner : undefined;
}

function outranks(levels: PowerLevels, sender: UserId, owner: UserId): boolean {
  return levels.powerLevelOf(sender) > levels.powerLevelOf(owner);
}
