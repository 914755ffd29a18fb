import type { RoomEvent } from '../events/event.ts';
import { isUserId, serverNameOf } from '../identifiers.ts';
import { creatorsOf } from '../power-levels.ts';
import { signaturesOf } from '../signing.ts';
import {
  type AuthState,
  allowed,
  joinRuleIn,
  membershipIn,
  powerLevelsIn,
  rejected,
  type Verdict,
} from './auth-state.ts';
import { checkThirdPartyMembership } from './third-party-invite.ts';

/**
 * Auth rule 5, m.room.member, numbered as in room version 12. (It is rule 5 in versions 1 to 5 and rule 4 in 6 to 11;
 * before version 8 there is no 5.2, so what follows it counts one less.)
 */
export function checkMember(event: RoomEvent, create: RoomEvent, auth: AuthState): Verdict {
  const { version, content } = event;
  // 5.1
  const target = event.stateKey;
  if (target === undefined) return rejected('an m.room.member event needs a state key');
  if (!Object.hasOwn(content, 'membership')) return rejected('content.membership is missing');
  // 5.2
  if (version.restrictedJoins && Object.hasOwn(content, 'join_authorised_via_users_server')) {
    if (!isSignedByAuthorisingServer(event)) return rejected('the server that authorised the join did not sign it');
  }
  switch (content['membership']) {
    case 'join':
      return checkJoin(event, target, create, auth);
    case 'invite':
      return checkInvite(event, target, auth);
    case 'leave':
      return checkLeave(event, target, auth);
    case 'ban':
      return checkBan(event, target, auth);
    case 'knock':
      return version.knocking ? checkKnock(event, target, auth) : unknownMembership;
    default:
      return unknownMembership;
  }
}

// 5.8
const unknownMembership = rejected('the membership is not known in this room version');

/**
 * 5.2.1. Whether the signature is there; that it is valid was found when the event's signatures were verified, which for
 * these events includes the one of the authorising user's server.
 */
function isSignedByAuthorisingServer({ content, pdu }: RoomEvent): boolean {
  const authoriser = content['join_authorised_via_users_server'];
  if (typeof authoriser !== 'string' || !isUserId(authoriser)) return false;
  return signaturesOf(pdu, serverNameOf(authoriser)).length > 0;
}

function checkJoin(event: RoomEvent, target: string, create: RoomEvent, auth: AuthState): Verdict {
  const { version } = event;
  // 5.3.1: the creator's first step into the room. Additional creators of version 12 join like anybody else.
  const [creator] = creatorsOf(create);
  if (event.prevEvents.length === 1 && event.prevEvents[0] === create.eventId && creator === target) return allowed;
  // 5.3.2
  if (event.sender !== target) return rejected('nobody can join for another user');
  // 5.3.3
  const membership = membershipIn(auth, target);
  if (membership === 'ban') return rejected('the user is banned');
  const isIn = membership === 'invite' || membership === 'join';
  const rule = joinRuleIn(auth);
  // 5.3.4
  if ((rule === 'invite' || (rule === 'knock' && version.knocking)) && isIn) return allowed;
  // 5.3.5
  if (
    (rule === 'restricted' && version.restrictedJoins) ||
    (rule === 'knock_restricted' && version.knockRestrictedJoins)
  ) {
    // 5.3.5.1
    if (isIn) return allowed;
    // 5.3.5.2
    const authoriser = event.content['join_authorised_via_users_server'];
    if (typeof authoriser !== 'string') return rejected('the join is not authorised by a member');
    if (membershipIn(auth, authoriser) !== 'join') return rejected('who authorised the join is not in the room');
    const levels = powerLevelsIn(auth);
    if (levels.powerLevelOf(authoriser) < levels.requiredFor('invite')) {
      return rejected('who authorised the join lacks the power to invite');
    }
    // 5.3.5.3
    return allowed;
  }
  // 5.3.6
  if (rule === 'public') return allowed;
  // 5.3.7
  return rejected('the join rule does not let the user in');
}

function checkInvite(event: RoomEvent, target: string, auth: AuthState): Verdict {
  // 5.4.1
  if (Object.hasOwn(event.content, 'third_party_invite')) return checkThirdPartyMembership(event, target, auth);
  // 5.4.2
  if (membershipIn(auth, event.sender) !== 'join') return rejected('the sender is not in the room');
  // 5.4.3
  const membership = membershipIn(auth, target);
  if (membership === 'join') return rejected('the invited user is in the room already');
  if (membership === 'ban') return rejected('the invited user is banned');
  // 5.4.4, 5.4.5
  const levels = powerLevelsIn(auth);
  return levels.powerLevelOf(event.sender) >= levels.requiredFor('invite')
    ? allowed
    : rejected('the sender lacks the power to invite');
}

function checkLeave(event: RoomEvent, target: string, auth: AuthState): Verdict {
  const membership = membershipIn(auth, target);
  // 5.5.1
  if (event.sender === target) {
    return membership === 'invite' || membership === 'join' || (membership === 'knock' && event.version.knocking)
      ? allowed
      : rejected('the user has nothing to leave');
  }
  // 5.5.2
  if (membershipIn(auth, event.sender) !== 'join') return rejected('the sender is not in the room');
  // 5.5.3
  const levels = powerLevelsIn(auth);
  const power = levels.powerLevelOf(event.sender);
  if (membership === 'ban' && power < levels.requiredFor('ban')) return rejected('the sender lacks the power to unban');
  // 5.5.4, 5.5.5
  return power >= levels.requiredFor('kick') && levels.powerLevelOf(target) < power
    ? allowed
    : rejected('the sender lacks the power to kick this user');
}

function checkBan(event: RoomEvent, target: string, auth: AuthState): Verdict {
  // 5.6.1
  if (membershipIn(auth, event.sender) !== 'join') return rejected('the sender is not in the room');
  // 5.6.2, 5.6.3
  const levels = powerLevelsIn(auth);
  const power = levels.powerLevelOf(event.sender);
  return power >= levels.requiredFor('ban') && levels.powerLevelOf(target) < power
    ? allowed
    : rejected('the sender lacks the power to ban this user');
}

function checkKnock(event: RoomEvent, target: string, auth: AuthState): Verdict {
  // 5.7.1
  const rule = joinRuleIn(auth);
  if (rule !== 'knock' && !(rule === 'knock_restricted' && event.version.knockRestrictedJoins)) {
    return rejected('the join rule does not let anybody knock');
  }
  // 5.7.2
  if (event.sender !== target) return rejected('nobody can knock for another user');
  // 5.7.3, 5.7.4
  const membership = membershipIn(auth, target);
  return membership === 'ban' || membership === 'invite' || membership === 'join'
    ? rejected('the user is banned, invited or in the room already')
    : allowed;
}
