import type { FederationClient } from '../../federation/types.ts';
import type { Module } from '../../module.ts';
import type { EventSender, MembershipReader } from '../../rooms/types.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import { type ProfileQueryNeeds, profileQuery } from './queries.ts';
import { profileFollower } from './service/follower.ts';
import { profileRoutes } from './routes.ts';
import { type ProfileServiceNeeds, type Profiles, type ProfileSettings, profileService } from './service/profiles.ts';
import { remoteProfiles } from './service/remote.ts';
import { ProfileStore } from './store.ts';

export { migrations } from './schema.ts';
export type { AvatarMedia, Face, Profiles, ProfileSettings } from './service/profiles.ts';

export type ProfileModuleSettings = ProfileSettings & ProfileQueryNeeds['settings'];

export interface ProfilesNeeds extends Omit<ProfileServiceNeeds, 'store' | 'rooms' | 'remote'> {
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: ProfileModuleSettings;
  /** Asks other servers. Absent on a server that does not federate. */
  readonly client?: FederationClient | undefined;
  readonly rooms: Pick<MembershipReader, 'shareRoom' | 'listRoomsOf' | 'isJoined'>;
  readonly sender: Pick<EventSender, 'send'>;
}

/** What users show of themselves (spec: "Profiles"). */
export function profiles(needs: ProfilesNeeds): Module & { readonly profiles: Profiles } {
  const store = new ProfileStore(needs.db);
  const { client, clock } = needs;
  const remote = client === undefined ? undefined : remoteProfiles({ client, clock });
  const service = profileService({ ...needs, store, remote });
  return {
    name: 'profiles',
    profiles: service,
    routes: profileRoutes(service),
    queries: { profile: profileQuery({ profiles: service, settings: needs.settings }) },
    followers: [profileFollower({ ...needs, store })],
  };
}
