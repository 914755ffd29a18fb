import { decodeBase64, decodeBase64Url } from '../base64.ts';
import { checkCanonical } from '../canonical-json.ts';
import type { RoomEvent } from '../events/event.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../json.ts';
import type { RoomVersion } from '../room-versions.ts';
import { PUBLIC_KEY_BYTES, signaturesOf, signedText, verifyText } from '../signing.ts';
import { type AuthState, allowed, membershipIn, powerLevelsIn, rejected, type Verdict } from './auth-state.ts';

/**
 * Most signatures × keys that are tried for one invite.
 * NOT-SPEC: the rules set no limit, but an event has room for hundreds of each and every try costs about 0.1 ms; honest
 * invites need one or two.
 */
const MAX_TRIES = 500;

/** Auth rule 7, m.room.third_party_invite: the invite level decides, and nothing else. */
export function checkThirdPartyInvite(event: RoomEvent, auth: AuthState): Verdict {
  const levels = powerLevelsIn(auth);
  // 7.1
  return levels.powerLevelOf(event.sender) >= levels.requiredFor('invite')
    ? allowed
    : rejected('the sender lacks the power to invite');
}

/** The token that an invite's `third_party_invite.signed` holds, if its content has that shape. */
export function thirdPartyToken(content: JsonObject): string | undefined {
  const invite = content['third_party_invite'];
  const signed = isJsonObject(invite) ? invite['signed'] : undefined;
  const token = isJsonObject(signed) ? signed['token'] : undefined;
  return typeof token === 'string' ? token : undefined;
}

/** Auth rule 5.4.1, m.room.member: an invite that redeems an earlier m.room.third_party_invite. */
export function checkThirdPartyMembership(event: RoomEvent, target: string, auth: AuthState): Verdict {
  const invite = event.content['third_party_invite'];
  // 5.4.1.1
  if (membershipIn(auth, target) === 'ban') return rejected('the invited user is banned');
  // 5.4.1.2
  const signed = isJsonObject(invite) ? invite['signed'] : undefined;
  if (!isJsonObject(signed)) return rejected('third_party_invite is not signed');
  // 5.4.1.3
  const token = thirdPartyToken(event.content);
  if (token === undefined || typeof signed['mxid'] !== 'string')
    return rejected('third_party_invite lacks mxid or token');
  // 5.4.1.4
  if (signed['mxid'] !== target) return rejected('third_party_invite was signed for another user');
  // 5.4.1.5
  const offer = auth.find('m.room.third_party_invite', token);
  if (!offer) return rejected('the room has no third-party invite with this token');
  // 5.4.1.6
  if (offer.sender !== event.sender) return rejected('the third-party invite was sent by someone else');
  // 5.4.1.7, 5.4.1.8
  return isSignedByAny(signed, publicKeysOf(offer.content), event.version)
    ? allowed
    : rejected('no key of the third-party invite signed this');
}

function publicKeysOf(content: JsonObject): readonly Buffer[] {
  const listed = Array.isArray(content['public_keys']) ? content['public_keys'] : [];
  const values: readonly (JsonValue | undefined)[] = [
    content['public_key'],
    ...listed.map((entry: JsonValue) => (isJsonObject(entry) ? entry['public_key'] : undefined)),
  ];
  const texts = new Set(values.filter((value) => typeof value === 'string'));
  // Either alphabet is allowed for these keys.
  return [...texts].flatMap((text) => {
    const key = decodeBase64(text) ?? decodeBase64Url(text);
    return key?.length === PUBLIC_KEY_BYTES ? [key] : [];
  });
}

/** 5.4.1.7: it does not matter under which name a signature stands, only which key made it. */
function isSignedByAny(signed: JsonObject, keys: readonly Buffer[], version: RoomVersion): boolean {
  const signers = isJsonObject(signed['signatures']) ? Object.keys(signed['signatures']) : [];
  const signatures = signers.flatMap((signer) => signaturesOf(signed, signer));
  if (signatures.length === 0) return false;
  const options = { strict: version.strictCanonicalJson };
  const { signatures: _signatures, unsigned: _unsigned, ...rest } = signed;
  // What has no canonical form cannot have been signed.
  if (checkCanonical(rest, options) !== undefined) return false;
  const text = signedText(signed, options);
  let tries = 0;
  for (const key of keys) {
    for (const { signature } of signatures) {
      if (++tries > MAX_TRIES) return false;
      if (verifyText(text, signature, key)) return true;
    }
  }
  return false;
}
