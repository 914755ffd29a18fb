import type { QueryHandler } from '../../federation/types.ts';
import { forbidden, invalidParam, missingParam, notFound } from '../../matrix/errors.ts';
import { isUserId, type ServerName, serverNameOf } from '../../matrix/identifiers.ts';
import { checkFieldKey } from './service/fields.ts';
import type { Profiles } from './service/profiles.ts';

export interface ProfileQueryNeeds {
  readonly profiles: Pick<Profiles, 'describe'>;
  readonly settings: {
    readonly serverName: ServerName;
    /** Whether other servers are shown profiles at all. */
    readonly overFederation: boolean;
  };
}

/** GET /query/profile (server-server API, "Querying for information"). */
export function profileQuery({ profiles, settings }: ProfileQueryNeeds): QueryHandler {
  return (_origin, { user_id: userId, field }) => {
    if (!settings.overFederation) throw forbidden('This server shows no profiles to other servers');
    if (userId === undefined) throw missingParam('user_id is missing');
    if (!isUserId(userId)) throw invalidParam('user_id is not a user ID');
    if (serverNameOf(userId) !== settings.serverName) throw invalidParam('The user is not of this server');
    const profile = profiles.describe(userId);
    if (profile === undefined) throw notFound('There is no profile of this user');
    if (field === undefined) return profile;
    checkFieldKey(field);
    const value = Object.hasOwn(profile, field) ? profile[field] : undefined;
    return value === undefined ? {} : { [field]: value };
  };
}
