import { join } from 'node:path';
import type { ServerName } from '../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../matrix/json.ts';
import { DEFAULT_ROOM_VERSION } from '../matrix/room-versions.ts';
import { readAppServices } from './app-services.ts';
import { buildFederation, buildOutbound, buildTrustedKeyServers, checkOldKeys } from './build-federation.ts';
import { buildUrlPreviews } from './build-previews.ts';
import {
  buildAccountValidity,
  buildRegistration,
  buildSessions,
  buildUserConsent,
  userHere,
} from './build-registration.ts';
import { buildEmail, buildTurn, templateDirectories } from './build-services.ts';
import { buildMedia, buildUsers } from './build-users.ts';
import { buildListeners } from './listeners.ts';
import { buildLogConfig } from './log-config.ts';
import type { RateLimitValues } from './option.ts';
import type { OptionValues } from './options/all.ts';
import { checkReadable } from './secrets.ts';
import type { Source } from './source.ts';
import type { Config, RateLimit, RoomPreset, RoomRule } from './types.ts';

/** What a start adds to what the files say. */
export interface Circumstances {
  readonly dataDir: string;
  /** Started with a data directory, rather than with files of one's own. */
  readonly inDataDir: boolean;
  readonly clientPort: number | undefined;
  readonly federationPort: number | undefined;
  /** Whether files that are lacking may be made. */
  readonly makeFiles: boolean;
}

/** The configuration as the rest of the server knows it. What doesn't go together is recorded in `source`. */
export function buildConfig(source: Source, serverName: ServerName, circumstances: Circumstances): Config {
  const v = source.values;
  const { dataDir } = circumstances;
  const tls = buildTls(source);
  const ports = { client: circumstances.clientPort, federation: circumstances.federationPort };
  const listeners = buildListeners(source, ports, tls !== undefined);
  if (tls === undefined && listeners.some((listener) => listener.tls)) {
    source.refuse(
      ['listeners', 'tls_certificate_path', 'tls_private_key_path'],
      'a listener with tls: true needs tls_certificate_path and tls_private_key_path',
    );
  }
  if (v.limit_usage_by_mau && v.max_mau_value === 0) {
    source.refuse(['limit_usage_by_mau', 'max_mau_value'], 'needs max_mau_value, the number of users');
  }
  checkOldKeys(source);
  for (const authority of v.federation_custom_ca_list ?? []) {
    checkReadable(source, 'federation_custom_ca_list', authority);
  }
  return {
    files: source.files,
    dataDir,
    serverName,
    publicBaseUrl: buildBaseUrl(source, serverName),
    publicBaseUrlGiven: v.public_baseurl !== undefined,
    webClientLocation: v.web_client_location,
    serveServerWellKnown: v.serve_server_wellknown,
    extraWellKnownClientContent: v.extra_well_known_client_content,
    listeners,
    tls,
    pidFile: v.pid_file,
    databasePath: v.database?.args?.database ?? join(dataDir, 'homeserver.db'),
    log: buildLogConfig(source, dataDir, circumstances.inDataDir),
    signing: {
      keyPath: v.signing_key_path ?? join(dataDir, signingKeyFileName(serverName)),
      inlineKey: v.signing_key,
      oldKeys: mapValues(v.old_signing_keys, ({ key, expired_ts }) => ({ key, expiredAtMs: expired_ts })),
      keyRefreshIntervalMs: v.key_refresh_interval,
      notaryKeyPath: v.key_server_signing_keys_path,
    },
    trustedKeyServers: buildTrustedKeyServers(source),
    rooms: buildRooms(source),
    roomDirectory: {
      searchEnabled: v.enable_room_list_search,
      aliasCreationRules: buildRules(v.alias_creation_rules),
      publicationRules: buildRules(v.room_list_publication_rules),
      requireMembershipForAliases: v.require_membership_for_aliases,
      publicRoomsWithoutAuth: v.allow_public_rooms_without_auth,
      publicRoomsOverFederation: v.allow_public_rooms_over_federation,
    },
    registration: buildRegistration(source, serverName, circumstances.makeFiles),
    sessions: buildSessions(source),
    passwords: {
      enabled: v.password_config.enabled === 'only_for_reauth' ? 'reauth' : v.password_config.enabled ? 'yes' : 'no',
      localDatabase: v.password_config.localdb_enabled,
      pepper: v.password_config.pepper,
      policy: {
        enabled: v.password_config.policy.enabled,
        minimumLength: v.password_config.policy.minimum_length,
        requireDigit: v.password_config.policy.require_digit,
        requireSymbol: v.password_config.policy.require_symbol,
        requireLowercase: v.password_config.policy.require_lowercase,
        requireUppercase: v.password_config.policy.require_uppercase,
      },
    },
    ...buildUsers(v),
    push: {
      enabled: v.push.enabled,
      includeContent: v.push.include_content,
      countRooms: v.push.group_unread_count_by_room,
      jitterMs: v.push.jitter_delay,
      threadsAreFollowed: v.hearth.thread_subscriptions,
    },
    media: buildMedia(v, dataDir),
    urlPreviews: buildUrlPreviews(source),
    outbound: buildOutbound(v),
    federation: buildFederation(v),
    rateLimits: buildRateLimits(v),
    email: buildEmail(source),
    templateDirectories: templateDirectories(source),
    userConsent: buildUserConsent(source),
    accountValidity: buildAccountValidity(source),
    turn: buildTurn(source),
    rtcTransports: v.matrix_rtc.transports,
    serverNotices: buildServerNotices(source, serverName),
    appServices: {
      registrations: readAppServices(source, serverName),
      tracksAddresses: v.track_appservice_user_ips,
      tokenInAddress: v.use_appservice_legacy_authorization,
    },
    adminContact: v.admin_contact,
    disabledReason: v.hs_disabled ? v.hs_disabled_message : undefined,
    usageLimit: {
      enabled: v.limit_usage_by_mau,
      countOnly: v.mau_stats_only,
      maxMonthlyUsers: v.max_mau_value,
      trialDays: v.mau_trial_days,
    },
  };
}

/** The name of a server's signing key file; what file names cannot hold everywhere (colon, brackets) becomes "_". */
export function signingKeyFileName(serverName: string): string {
  return `${serverName.replaceAll(/[:[\]]/g, '_')}.signing.key`;
}

/** `object` with each of its values turned into another. */
export function mapValues<A, B>(object: Readonly<Record<string, A>>, turn: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, turn(value)]));
}

function buildBaseUrl(source: Source, serverName: ServerName): string {
  const written = source.values.public_baseurl ?? `https://${serverName}/`;
  if (/[?#]/.test(written)) source.refuse(['public_baseurl'], 'must not have a query (?) or a fragment (#)');
  return written.endsWith('/') ? written : `${written}/`;
}

function buildTls(source: Source): Config['tls'] {
  const { tls_certificate_path: certificatePath, tls_private_key_path: privateKeyPath } = source.values;
  if (certificatePath === undefined || privateKeyPath === undefined) return undefined;
  // A certificate may be configured before it is there, as long as nothing is served with it.
  if (source.values.listeners?.some(({ tls }) => tls) === true) {
    checkReadable(source, 'tls_certificate_path', certificatePath);
    checkReadable(source, 'tls_private_key_path', privateKeyPath);
  }
  return { certificatePath, privateKeyPath };
}

const presets: readonly RoomPreset[] = ['public_chat', 'private_chat', 'trusted_private_chat'];
const prejoinTypes = ['join_rules', 'canonical_alias', 'avatar', 'encryption', 'name', 'create', 'topic'];

function buildRooms(source: Source): Config['rooms'] {
  const v = source.values;
  const overrides = v.default_power_level_content_override;
  for (const name of Object.keys(overrides)) {
    if (!presets.some((preset) => preset === name)) {
      const message = `${name} is no preset of rooms; there are ${presets.join(', ')}`;
      source.refuse(['default_power_level_content_override'], message);
    }
  }
  const override = (preset: RoomPreset): JsonObject | undefined => asObject(overrides[preset]);
  const prejoin = v.room_prejoin_state;
  const standard = prejoinTypes.map((name) => ({ type: `m.room.${name}`, stateKey: '' }));
  const additional = prejoin.additional_event_types.flatMap((entry) => {
    const [type, stateKey, ...rest] = typeof entry === 'string' ? [entry] : entry;
    if (type !== undefined && rest.length === 0 && (typeof entry === 'string' || stateKey !== undefined)) {
      return [{ type, stateKey }];
    }
    source.refuse(['room_prejoin_state'], 'an entry is either a type or a list of a type and a state key');
    return [];
  });
  return {
    defaultVersion: v.default_room_version ?? DEFAULT_ROOM_VERSION,
    encryptionByDefault: v.encryption_enabled_by_default_for_room_type,
    powerLevelOverrides: {
      public_chat: override('public_chat'),
      private_chat: override('private_chat'),
      trusted_private_chat: override('trusted_private_chat'),
    },
    blockNonAdminInvites: v.block_non_admin_invites,
    ephemeralMessages: v.enable_ephemeral_messages,
    redactionRetentionMs: v.redaction_retention_period ?? undefined,
    forgetOnLeave: v.forget_rooms_on_leave,
    forgottenRoomRetentionMs: v.forgotten_room_retention_period ?? undefined,
    excludedFromSync: v.exclude_rooms_from_sync,
    allowPerRoomProfiles: v.allow_per_room_profiles,
    prejoinState: prejoin.disable_default_event_types ? additional : [...standard, ...additional],
    maxEventDelayMs: v.max_event_delay_duration || undefined,
    maxDelayedEventsPerUser: v.hearth.max_delayed_events_per_user,
    dummyEventsThreshold: v.dummy_events_threshold,
    searchEnabled: v.enable_search,
    autoAcceptInvites: {
      enabled: v.auto_accept_invites.enabled,
      onlyForDirectMessages: v.auto_accept_invites.only_for_direct_messages,
      onlyFromLocalUsers: v.auto_accept_invites.only_from_local_users,
    },
    remoteRoomLimit: v.limit_remote_rooms.enabled
      ? {
          complexity: v.limit_remote_rooms.complexity,
          error: v.limit_remote_rooms.complexity_error,
          adminsCanJoin: v.limit_remote_rooms.admins_can_join,
        }
      : undefined,
  };
}

function asObject(value: JsonValue | undefined): JsonObject | undefined {
  return isJsonObject(value) ? value : undefined;
}

function buildRules(rules: OptionValues['alias_creation_rules']): readonly RoomRule[] {
  // With no list at all everything is allowed; with an empty one nothing is.
  if (rules === undefined) return [{ userId: '*', alias: '*', roomId: '*', action: 'allow' }];
  return rules.map(({ user_id, alias, room_id, action }) => ({ userId: user_id, alias, roomId: room_id, action }));
}

function buildRateLimits(v: OptionValues): Config['rateLimits'] {
  const limit = ({ per_second, burst_count }: RateLimitValues): RateLimit => ({
    perSecond: per_second,
    burstCount: Math.floor(burst_count),
  });
  return {
    message: limit(v.rc_message),
    registration: limit(v.rc_registration),
    registrationTokenValidity: limit(v.rc_registration_token_validity),
    loginAddress: limit(v.rc_login.address),
    loginAccount: limit(v.rc_login.account),
    loginFailedAttempts: limit(v.rc_login.failed_attempts),
    adminRedaction: v.rc_admin_redaction === undefined ? undefined : limit(v.rc_admin_redaction),
    joinsLocal: limit(v.rc_joins.local),
    joinsRemote: limit(v.rc_joins.remote),
    joinsPerRoom: limit(v.rc_joins_per_room),
    threepidValidation: limit(v.rc_3pid_validation),
    invitesPerRoom: limit(v.rc_invites.per_room),
    invitesPerUser: limit(v.rc_invites.per_user),
    invitesPerIssuer: limit(v.rc_invites.per_issuer),
    thirdPartyInvite: limit(v.rc_third_party_invite),
    mediaCreate: limit(v.rc_media_create),
    presencePerUser: limit(v.rc_presence.per_user),
    delayedEventManagement: limit(v.rc_delayed_event_mgmt),
    reports: limit(v.rc_reports),
    roomCreation: limit(v.rc_room_creation),
    userDirectory: limit(v.rc_user_directory),
  };
}

function buildServerNotices(source: Source, serverName: ServerName): Config['serverNotices'] {
  const notices = source.values.server_notices;
  if (notices === undefined) return undefined;
  return {
    userId: userHere(source, 'server_notices', notices.system_mxid_localpart, serverName),
    displayName: notices.system_mxid_display_name,
    avatarUrl: notices.system_mxid_avatar_url,
    roomName: notices.room_name,
    roomAvatarUrl: notices.room_avatar_url,
    roomTopic: notices.room_topic,
    autoJoin: notices.auto_join,
  };
}
