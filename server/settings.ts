/** Cuts the configuration into the settings each part takes. */
import type { Config, RateLimit as RateLimitSetting } from './config/types.ts';
import type { FederationSettings } from './federation/federation.ts';
import type { RateLimit } from './http/rate-limit.ts';
import { isRoomId } from './matrix/identifiers.ts';
import type { JsonObject } from './matrix/json.ts';
import { roomVersions, unstableRoomVersions } from './matrix/room-versions.ts';
import type { MailPartSettings } from './mail/mail.ts';
import type { AccountsModule, AccountsNeeds, AccountsSettings } from './modules/accounts/index.ts';
import type { ThirdPartySettings } from './modules/third-party-ids/index.ts';
import type { ContentSettings } from './modules/content-repository/index.ts';
import type { CreationSettings } from './modules/room-creation/index.ts';
import type { DirectorySettings } from './modules/room-directory/index.ts';
import type { MembershipLimits, MembershipSettings } from './modules/room-membership/index.ts';
import type { CapabilitiesNeeds, CapabilityFacts } from './modules/capabilities/index.ts';
import type { PresenceSettings } from './modules/presence/index.ts';
import type { PreviewSettings } from './modules/url-previews/index.ts';
import type { ProfileModuleSettings } from './modules/profiles/index.ts';
import type { VoipSettings } from './modules/voip/index.ts';

type MakeLimit = (options: RateLimitSetting) => RateLimit;

/** The body of `/.well-known/matrix/client`, where the server was told its address. */
function wellKnownClient({ publicBaseUrl, publicBaseUrlGiven, ...config }: Config): JsonObject | undefined {
  if (!publicBaseUrlGiven) return undefined;
  return {
    'm.homeserver': { base_url: publicBaseUrl },
    ...(config.registration.defaultIdentityServer === undefined
      ? {}
      : { 'm.identity_server': { base_url: config.registration.defaultIdentityServer } }),
    // Where clients looked for what carries group calls before they could ask for it (MSC4143).
    ...(config.rtcTransports.length === 0 ? {} : { 'org.matrix.msc4143.rtc_foci': config.rtcTransports }),
    ...config.extraWellKnownClientContent,
  };
}

export function accountsSettings(config: Config): AccountsSettings {
  const { serverName, registration, sessions, passwords } = config;
  const publicBaseUrl = config.publicBaseUrlGiven ? config.publicBaseUrl : undefined;
  return {
    serverName,
    publicBaseUrl,
    wellKnown: wellKnownClient(config),
    registration: { ...registration, requiresTerms: config.userConsent?.requiredAtRegistration === true },
    sessions,
    passwords,
  };
}

export function accountLimits({ rateLimits }: Config, limit: MakeLimit): AccountsNeeds['limits'] {
  return {
    registration: limit(rateLimits.registration),
    registrationTokenValidity: limit(rateLimits.registrationTokenValidity),
    loginAddress: limit(rateLimits.loginAddress),
    loginAccount: limit(rateLimits.loginAccount),
    loginFailedAttempts: limit(rateLimits.loginFailedAttempts),
    loginToken: limit({ perSecond: 1 / 60, burstCount: 1 }),
    // Clients that wait for somebody to open a mail ask every other second.
    passwordReset: limit({ perSecond: 1, burstCount: 30 }),
  };
}

export function capabilityFacts(config: Config, accounts: AccountsModule): CapabilityFacts {
  return {
    roomVersions: {
      default: config.rooms.defaultVersion,
      available: Object.fromEntries([
        ...Array.from(roomVersions.keys(), (id) => [id, 'stable']),
        ...Array.from(unstableRoomVersions.keys(), (id) => [id, 'unstable']),
      ]),
    },
    forgetsRoomsOnLeave: config.rooms.forgetOnLeave,
    givesLoginTokens: config.sessions.loginViaExistingSession.enabled,
    delayedEvents: delayLimits(config),
    canChangePassword: ({ userId }) => accounts.canChangePassword(userId),
    canChangeThreepids: () => config.registration.threepidChangesAllowed,
    canChangeDisplayName: ({ isAdmin }) => config.profiles.displayNameChangesAllowed || isAdmin,
    canChangeAvatar: ({ isAdmin }) => config.profiles.avatarChangesAllowed || isAdmin,
    canModerateAccounts: ({ isAdmin }) => isAdmin,
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

export function mailSettings({ serverName, publicBaseUrl, templateDirectories, email }: Config): MailPartSettings {
  return { serverName, publicBaseUrl, templateDirectories, email };
}

/** How far ahead, and how many, events can be delayed; undefined where none can. */
export function delayLimits({ rooms }: Config): CapabilityFacts['delayedEvents'] {
  const { maxEventDelayMs: maxDelayMs, maxDelayedEventsPerUser: maxScheduled } = rooms;
  return maxDelayMs === undefined || maxScheduled === 0 ? undefined : { maxDelayMs, maxScheduled };
}

export function previewSettings({ urlPreviews }: Config): PreviewSettings {
  return urlPreviews;
}

/** Where requests for previews must not lead: what stands for this machine itself is added to what is configured. */
export function previewGuard({ urlPreviews: { deny, allow } }: Config): {
  deny: readonly string[];
  allow: readonly string[];
} {
  return { deny: [...deny, '0.0.0.0/8', '::/128'], allow };
}

export function voipSettings({ turn, rtcTransports }: Config): VoipSettings {
  return { turn, rtcTransports };
}

export function threepidSettings({ serverName, publicBaseUrl, registration, email }: Config): ThirdPartySettings {
  return {
    serverName,
    publicBaseUrl,
    allowedThreepids: registration.allowedThreepids,
    changesAllowed: registration.threepidChangesAllowed,
    lookupAllowed: registration.threepidLookupAllowed,
    inhibitErrors: registration.inhibitThreepidTokenErrors,
    nextLinkDomains: registration.nextLinkDomains,
    msisdnDelegate: registration.msisdnDelegate,
    msisdnRegistration: !registration.msisdnDisabled,
    tokenLifetimeMs: email?.validationTokenLifetimeMs ?? 3_600_000,
    inviteClientLocation: email?.inviteClientLocation,
  };
}
