import { MatrixError } from '../../../matrix/errors.ts';
import type { RoomId, UserId } from '../../../matrix/identifiers.ts';
import { canonicalAddress } from './addresses.ts';
import type { IdentityServers } from './identity-servers.ts';
import type { Inviter, ThirdPartyIdsNeeds } from './needs.ts';

/** Somebody of whom only an address is known. */
export interface AddressInvitee {
  readonly medium: string;
  readonly address: string;
  readonly idServer: string;
  readonly idAccessToken: string;
}

/** Inviting people by an address (spec: client-server API, "Third-party invites"). */
export interface AddressInvites {
  invite(by: Inviter, roomId: RoomId, invitee: AddressInvitee): Promise<void>;
  isKeyValid(publicKey: string, validityUrl: string): Promise<boolean>;
}

export function createAddressInvites(needs: ThirdPartyIdsNeeds, identityServers: IdentityServers): AddressInvites {
  const { settings, state, sender, profiles, inviteLimit } = needs;

  /** What the identity server may tell the invited in its mail. */
  function describeRoom(roomId: RoomId, by: UserId): Record<string, string> {
    const facts: Record<string, string> = {};
    const read = (name: string, type: string, key: string): void => {
      const value = state.findCurrent(roomId, type, '')?.content[key];
      if (typeof value === 'string') facts[name] = value;
    };
    read('room_name', 'm.room.name', 'name');
    read('room_alias', 'm.room.canonical_alias', 'alias');
    read('room_avatar_url', 'm.room.avatar', 'url');
    read('room_join_rules', 'm.room.join_rules', 'join_rule');
    read('room_type', 'm.room.create', 'type');
    const profile = profiles.find(by);
    if (profile?.displayName !== undefined) facts['sender_display_name'] = profile.displayName;
    if (profile?.avatarUrl !== undefined) facts['sender_avatar_url'] = profile.avatarUrl;
    const { inviteClientLocation } = settings;
    if (inviteClientLocation !== undefined) facts['org.matrix.web_client_location'] = inviteClientLocation;
    return facts;
  }

  return {
    invite: async (by, roomId, { medium, address: given, idServer, idAccessToken }) => {
      if (!settings.lookupAllowed) {
        throw new MatrixError('M_THREEPID_DENIED', 'This server does not look up who is behind an address');
      }
      if (medium !== 'email' && medium !== 'msisdn') {
        throw new MatrixError('M_INVALID_PARAM', 'Nobody can be invited by that medium', { status: 400 });
      }
      inviteLimit.checkFor(by, by.userId);
      const address = canonicalAddress(medium, given);
      const found = await identityServers.lookUp(idServer, idAccessToken, { medium, address });
      if (found !== undefined) {
        await needs.invite(by, roomId, found);
        return;
      }
      const draft = { roomId, type: 'm.room.third_party_invite', sender: by.userId };
      // The rules of the room before a mail goes out to somebody.
      needs.checkDraft({
        ...draft,
        stateKey: 'token',
        content: { display_name: '', key_validity_url: '', public_key: '' },
      });
      const { token, displayName, publicKeys } = await identityServers.storeInvite(idServer, idAccessToken, {
        medium,
        address,
        room_id: roomId,
        sender: by.userId,
        ...describeRoom(roomId, by.userId),
      });
      const [own] = publicKeys;
      await sender.send({
        ...draft,
        stateKey: token,
        content: { display_name: displayName, ...own, public_keys: publicKeys.map((key) => ({ ...key })) },
      });
    },

    isKeyValid: (publicKey, validityUrl) => identityServers.isKeyValid(publicKey, validityUrl),
  };
}
