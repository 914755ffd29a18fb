import type { Module } from '../../module.ts';
import type { EventSender, MembershipReader } from '../../rooms/types.ts';
import type { Logger } from '../../util/log.ts';
import { profileFollower } from './service/follower.ts';
import { profileRoutes } from './routes.ts';
import { type ProfileServiceNeeds, type Profiles, profileService } from './service/profiles.ts';
import { ProfileStore } from './store.ts';

export { migrations } from './schema.ts';
export type { AvatarMedia, Face, Profiles, ProfileSettings, RemoteProfiles } from './service/profiles.ts';

export interface ProfilesNeeds extends Omit<ProfileServiceNeeds, 'store' | 'rooms'> {
  readonly log: Logger;
  readonly rooms: Pick<MembershipReader, 'shareRoom' | 'listRoomsOf' | 'isJoined'>;
  readonly sender: Pick<EventSender, 'send'>;
}

/** What users show of themselves (spec: "Profiles"). */
export function profiles(needs: ProfilesNeeds): Module & { readonly profiles: Profiles } {
  const store = new ProfileStore(needs.db);
  const service = profileService({ ...needs, store });
  return {
    name: 'profiles',
    profiles: service,
    routes: profileRoutes(service),
    followers: [profileFollower({ ...needs, store })],
  };
}
