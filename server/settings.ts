/** Cuts the configuration into the settings each part takes. */
import type { Config, RateLimit as RateLimitSetting } from './config/types.ts';
import type { FederationSettings } from './federation/federation.ts';
import type { RateLimit } from './http/rate-limit.ts';
import { isRoomId } from './matrix/identifiers.ts';
import type { JsonObject } from './matrix/json.ts';
import { roomVersions } from './matrix/room-versions.ts';
import type { AccountsModule, AccountsNeeds, AccountsSettings } from './modules/accounts/index.ts';
import type { ContentSettings } from './modules/content-repository/index.ts';
import type { CreationSettings } from './modules/room-creation/index.ts';
import type { DirectorySettings } from './modules/room-directory/index.ts';
import type { MembershipLimits, MembershipSettings } from './modules/room-membership/index.ts';
import type { CapabilitiesNeeds, CapabilityFacts } from './modules/capabilities/index.ts';
import type { PresenceSettings } from './modules/presence/index.ts';
import type { ProfileModuleSettings } from './modules/profiles/index.ts';

type MakeLimit = (options: RateLimitSetting) => RateLimit;

/** The body of `/.well-known/matrix/client`, where the server was told its address. */
function wellKnownClient({ publicBaseUrl, publicBaseUrlGiven, ...config }: Config): JsonObject | undefined {
  if (!publicBaseUrlGiven) return undefined;
  return {
    'm.homeserver': { base_url: publicBaseUrl },
    ...(config.registration.defaultIdentityServer === undefined
      ? {}
      : { 'm.identity_server': { base_url: config.registration.defaultIdentityServer } }),
    ...config.extraWellKnownClientContent,
  };
}

export function accountsSettings(config: Config): AccountsSettings {
  const { serverName, registration, sessions, passwords } = config;
  const publicBaseUrl = config.publicBaseUrlGiven ? config.publicBaseUrl : undefined;
  return { serverName, publicBaseUrl, wellKnown: wellKnownClient(config), registration, sessions, passwords };
}

export function accountLimits({ rateLimits }: Config, limit: MakeLimit): AccountsNeeds['limits'] {
  return {
    registration: limit(rateLimits.registration),
    registrationTokenValidity: limit(rateLimits.registrationTokenValidity),
    loginAddress: limit(rateLimits.loginAddress),
    loginAccount: limit(rateLimits.loginAccount),
    loginFailedAttempts: limit(rateLimits.loginFailedAttempts),
    loginToken: limit({ perSecond: 1 / 60, burstCount: 1 }),
  };
}

export function capabilityFacts(config: Config, accounts: AccountsModule): CapabilityFacts {
  return {
    roomVersions: {
      default: config.rooms.defaultVersion,
      available: Object.fromEntries([...roomVersions.keys()].map((id) => [id, 'stable'])),
    },
    forgetsRoomsOnLeave: config.rooms.forgetOnLeave,
    givesLoginTokens: config.sessions.loginViaExistingSession.enabled,
    canChangePassword: ({ userId }) => accounts.canChangePassword(userId),
    canChangeThreepids: () => config.registration.threepidChangesAllowed,
    canChangeDisplayName: ({ isAdmin }) => config.profiles.displayNameChangesAllowed || isAdmin,
    canChangeAvatar: ({ isAdmin }) => config.profiles.avatarChangesAllowed || isAdmin,
    canModerateAccounts: () => false,
  };
}

export function discoverySettings(config: Config): CapabilitiesNeeds['settings'] {
  const { serverName, serveServerWellKnown, adminContact, federation } = config;
  const hasPort = /:\d+$/.test(serverName);
  return {
    wellKnownClient: wellKnownClient(config),
    // Whoever serves this file on the server's name says: federation is on 443 of the same name.
    federationAddress: serveServerWellKnown ? (hasPort ? serverName : `${serverName}:443`) : undefined,
    adminContact,
    dealings: federation.allowedServersEndpoint ? { only: federation.allowedServers } : undefined,
  };
}

export function membershipSettings({ serverName, rooms, profiles, registration }: Config): MembershipSettings {
  return {
    serverName,
    blockNonAdminInvites: rooms.blockNonAdminInvites,
    allowPerRoomProfiles: rooms.allowPerRoomProfiles,
    profilesInInvites: profiles.includedInInvites,
    forgetOnLeave: rooms.forgetOnLeave,
    autoJoin: registration.autoJoin,
  };
}

export function membershipLimits({ rateLimits }: Config, limit: MakeLimit): Omit<MembershipLimits, 'message'> {
  return {
    joinsLocal: limit(rateLimits.joinsLocal),
    joinsRemote: limit(rateLimits.joinsRemote),
    joinsPerRoom: limit(rateLimits.joinsPerRoom),
    invitesPerRoom: limit(rateLimits.invitesPerRoom),
    invitesPerUser: limit(rateLimits.invitesPerUser),
    invitesPerIssuer: limit(rateLimits.invitesPerIssuer),
  };
}

export function federationSettings(config: Config, version: string): FederationSettings {
  const { serverName, signing, trustedKeyServers, federation, outbound } = config;
  const { allowedServers } = federation;
  return {
    network: {
      client: {
        allowedServers,
        timeoutMs: federation.clientTimeoutMs,
        maxShortDelayMs: federation.maxShortRetryDelayMs,
        maxShortRetries: federation.maxShortRetries,
        maxLongDelayMs: federation.maxLongRetryDelayMs,
        maxLongRetries: federation.maxLongRetries,
      },
      destinations: {
        minMs: federation.destinationMinRetryMs,
        factor: federation.destinationRetryMultiplier,
        maxMs: federation.destinationMaxRetryMs,
      },
      outbound: {
        ...outbound,
        tls: {
          verifyCertificates: federation.verifyCertificates,
          unverifiedNames: federation.unverifiedServers,
          customCaPaths: federation.customCaPaths,
          minimumVersion: federation.minimumTlsVersion,
        },
        userAgent: `Hearth/${version} ${outbound.userAgentSuffix ?? ''}`.trim(),
      },
    },
    keys: {
      serverName,
      oldKeys: signing.oldKeys,
      keyRefreshIntervalMs: signing.keyRefreshIntervalMs,
      trustedKeyServers,
    },
    sender: {
      receiptTransactionsPerRoomPerSecond: federation.receiptTransactionsPerRoomPerSecond,
      allowedServers,
    },
    inbound: federation.inbound,
  };
}

export function directorySettings({ serverName, roomDirectory }: Config): DirectorySettings {
  return { serverName, ...roomDirectory };
}

export function creationSettings({ serverName, rooms }: Config): CreationSettings {
  return {
    serverName,
    defaultVersion: rooms.defaultVersion,
    encryptionByDefault: rooms.encryptionByDefault,
    powerLevelOverrides: rooms.powerLevelOverrides,
    blockNonAdminInvites: rooms.blockNonAdminInvites,
  };
}

export function profileSettings({ serverName, profiles }: Config): ProfileModuleSettings {
  return { serverName, ...profiles };
}

export function presenceSettings({ presence }: Config): PresenceSettings {
  return { ...presence, excludedRooms: new Set(presence.excludedRooms.filter(isRoomId)) };
}

export function contentSettings({ serverName, media }: Config): ContentSettings {
  return { serverName, ...media };
}
