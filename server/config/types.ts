import type { ServerName, UserId } from '../matrix/identifiers.ts';
import type { JsonObject } from '../matrix/json.ts';

/** A bucket that holds `burstCount` requests and refills with `perSecond` of them a second. */
export interface RateLimit {
  readonly perSecond: number;
  readonly burstCount: number;
}

/** What a listener can serve. What a name of Synapse's implies (client → media, static …) is spelled out already. */
export type ListenerResource =
  | 'client'
  | 'federation'
  | 'keys'
  | 'media'
  | 'openid'
  | 'static'
  | 'consent'
  | 'metrics'
  | 'health';

/** One address family or several on one port (or one socket file). */
export interface ListenerConfig {
  /** 0 lets the system choose. Undefined on a socket file. */
  readonly port: number | undefined;
  /** A Unix socket instead of a port, absolute, with the file mode it gets. */
  readonly socketPath: string | undefined;
  readonly socketMode: number;
  /** `::` stands for all interfaces, IPv4 too. Empty on a socket file. */
  readonly bindAddresses: readonly string[];
  readonly tls: boolean;
  /** Whether X-Forwarded-For and -Proto are believed. */
  readonly trustForwarded: boolean;
  /** Name of the header that carries a request ID, lower case. */
  readonly requestIdHeader: string | undefined;
  readonly tag: string | undefined;
  readonly resources: readonly ListenerResource[];
  /** Those of `resources` whose bodies are compressed. */
  readonly compressed: readonly ListenerResource[];
}

/** A part of a web address, as Python's urlsplit names it. */
export type UrlPart =
  | 'scheme'
  | 'netloc'
  | 'path'
  | 'query'
  | 'fragment'
  | 'username'
  | 'password'
  | 'hostname'
  | 'port';

/** A site that describes its pages in the oEmbed format. */
export interface OembedProvider {
  /** Where it answers. */
  readonly endpoint: string;
  /** Addresses of its pages, with `*` for any text. */
  readonly schemes: readonly string[];
}

/** A rule for aliases and the room list; the first that matches decides. Globs: `*` and `?`. */
export interface RoomRule {
  readonly userId: string;
  readonly alias: string;
  readonly roomId: string;
  readonly action: 'allow' | 'deny';
}

export interface PasswordPolicy {
  readonly enabled: boolean;
  readonly minimumLength: number;
  readonly requireDigit: boolean;
  readonly requireSymbol: boolean;
  readonly requireLowercase: boolean;
  readonly requireUppercase: boolean;
}

export type ThreepidMedium = 'email' | 'msisdn';
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type RoomPreset = 'public_chat' | 'private_chat' | 'trusted_private_chat';

/** Where log lines go. A file is rotated when it has `maxBytes`; `keep` old ones stay. */
export interface LogConfig {
  readonly level: LogLevel;
  /** Absolute path, or undefined for standard output. */
  readonly file: string | undefined;
  readonly maxBytes: number;
  readonly keep: number;
}

export interface ThumbnailSize {
  readonly width: number;
  readonly height: number;
  readonly method: 'crop' | 'scale';
}

export interface TrustedKeyServer {
  readonly serverName: ServerName;
  /** Key ID → unpadded base64 of the public key. Empty: rely on TLS alone. */
  readonly verifyKeys: Readonly<Record<string, string>>;
  readonly acceptKeysInsecurely: boolean;
}

/**
 * Everything the configuration says, checked, with defaults filled in. Names of durations end in Ms, of sizes in Bytes.
 * Paths are absolute. Deeply frozen.
 */
export interface Config {
  /** The files it came from, in the order they were read. */
  readonly files: readonly string[];
  /** Where files live that no option names. */
  readonly dataDir: string;
  readonly serverName: ServerName;
  /** Ends in a slash. */
  readonly publicBaseUrl: string;
  /** `/.well-known/matrix/client` is only served if the base URL was set on purpose. */
  readonly publicBaseUrlGiven: boolean;
  readonly webClientLocation: string | undefined;
  readonly serveServerWellKnown: boolean;
  readonly extraWellKnownClientContent: JsonObject;
  readonly listeners: readonly ListenerConfig[];
  readonly tls: { readonly certificatePath: string; readonly privateKeyPath: string } | undefined;
  readonly pidFile: string | undefined;
  readonly databasePath: string;
  readonly log: LogConfig;

  readonly signing: {
    /** The file with the key; made on the first start. */
    readonly keyPath: string;
    /** The key in the configuration itself (`ed25519 version base64`); then `keyPath` is not read. */
    readonly inlineKey: string | undefined;
    /** Key ID → public key (unpadded base64) and when it was last used (ms since 1970). */
    readonly oldKeys: Readonly<Record<string, { readonly key: string; readonly expiredAtMs: number }>>;
    readonly keyRefreshIntervalMs: number;
    /** The file with the keys that answers about other servers' keys are signed with; undefined: those above. */
    readonly notaryKeyPath: string | undefined;
  };
  readonly trustedKeyServers: readonly TrustedKeyServer[];

  readonly rooms: {
    readonly defaultVersion: string;
    readonly encryptionByDefault: 'all' | 'invite' | 'off';
    /** Content merged over a preset's power levels. */
    readonly powerLevelOverrides: Readonly<Record<RoomPreset, JsonObject | undefined>>;
    readonly blockNonAdminInvites: boolean;
    readonly ephemeralMessages: boolean;
    /** Undefined: redacted events keep their content for good. */
    readonly redactionRetentionMs: number | undefined;
    readonly forgetOnLeave: boolean;
    /** Undefined: forgotten rooms are kept. */
    readonly forgottenRoomRetentionMs: number | undefined;
    readonly excludedFromSync: readonly string[];
    readonly allowPerRoomProfiles: boolean;
    /** State event types shown to the invited, each with the one state key meant or `undefined` for all. */
    readonly prejoinState: readonly { readonly type: string; readonly stateKey: string | undefined }[];
    /** Undefined: delayed events are off. */
    readonly maxEventDelayMs: number | undefined;
    readonly maxDelayedEventsPerUser: number;
    /** More forward extremities than this are joined by an event of this server's own. */
    readonly dummyEventsThreshold: number;
    readonly searchEnabled: boolean;
    readonly autoAcceptInvites: {
      readonly enabled: boolean;
      readonly onlyForDirectMessages: boolean;
      readonly onlyFromLocalUsers: boolean;
    };
    readonly remoteRoomLimit:
      | {
          readonly complexity: number;
          readonly error: string;
          readonly adminsCanJoin: boolean;
        }
      | undefined;
  };
  readonly roomDirectory: {
    readonly searchEnabled: boolean;
    readonly aliasCreationRules: readonly RoomRule[];
    readonly publicationRules: readonly RoomRule[];
    readonly requireMembershipForAliases: boolean;
    readonly publicRoomsWithoutAuth: boolean;
    readonly publicRoomsOverFederation: boolean;
  };

  readonly registration: {
    readonly enabled: boolean;
    readonly withoutVerification: boolean;
    readonly requiresToken: boolean;
    /** Phone numbers are out already if `disable_msisdn_registration` says so. */
    readonly requiredThreepids: readonly ThreepidMedium[];
    readonly msisdnDisabled: boolean;
    /** Undefined: any address may be bound. A pattern has to match from its first character on. */
    readonly allowedThreepids: readonly { readonly medium: ThreepidMedium; readonly pattern: RegExp }[] | undefined;
    readonly sharedSecret: string | undefined;
    readonly guestsAllowed: boolean;
    readonly inhibitUserInUseError: boolean;
    readonly underscorePrefixAllowed: boolean;
    readonly threepidChangesAllowed: boolean;
    readonly threepidLookupAllowed: boolean;
    readonly inhibitThreepidTokenErrors: boolean;
    /** Undefined: any. */
    readonly nextLinkDomains: readonly string[] | undefined;
    readonly msisdnDelegate: string | undefined;
    readonly defaultIdentityServer: string | undefined;
    /** 2^n rounds, for hashes in bcrypt. */
    readonly bcryptRounds: number;
    readonly defaultUserType: string | undefined;
    readonly extraUserTypes: readonly string[];
    readonly autoJoin: {
      readonly rooms: readonly string[];
      readonly create: boolean;
      readonly federated: boolean;
      readonly preset: RoomPreset;
      /** Who creates the rooms and invites into them; undefined: the first who registers. */
      readonly inviter: UserId | undefined;
      readonly guests: boolean;
    };
    readonly captcha:
      | {
          readonly required: boolean;
          readonly publicKey: string;
          readonly privateKey: string;
          readonly verifyUrl: string;
        }
      | undefined;
  };
  /** Lifetimes in ms; undefined means for ever. */
  readonly sessions: {
    readonly lifetimeMs: number | undefined;
    readonly refreshTokenLifetimeMs: number | undefined;
    readonly refreshableAccessTokenLifetimeMs: number;
    readonly nonrefreshableAccessTokenLifetimeMs: number | undefined;
    /** How long one proof of identity serves for further actions; 0: every action asks. */
    readonly uiAuthTimeoutMs: number;
    readonly deleteStaleDevicesAfterMs: number | undefined;
    readonly userIpsMaxAgeMs: number | undefined;
    readonly loginViaExistingSession: {
      readonly enabled: boolean;
      readonly requireUiAuth: boolean;
      readonly tokenTimeoutMs: number;
    };
  };
  readonly passwords: {
    /** `reauth`: existing passwords go on working, new ones cannot be set. */
    readonly enabled: 'yes' | 'no' | 'reauth';
    readonly localDatabase: boolean;
    readonly pepper: string;
    readonly policy: PasswordPolicy;
  };

  readonly profiles: {
    readonly requireAuth: boolean;
    readonly onlyWithSharedRooms: boolean;
    readonly includedInInvites: boolean;
    readonly overFederation: boolean;
    readonly displayNameChangesAllowed: boolean;
    readonly avatarChangesAllowed: boolean;
    /** Undefined: no limit. */
    readonly maxAvatarBytes: number | undefined;
    readonly avatarMimeTypes: readonly string[] | undefined;
  };
  readonly presence: {
    /** `untracked`: clients and modules may still set it, nobody is followed. */
    readonly mode: 'on' | 'off' | 'untracked';
    readonly offlineUsersOnSync: boolean;
    readonly lastActiveGranularityMs: number;
    readonly syncOnlineTimeoutMs: number;
    readonly idleTimeoutMs: number;
    readonly excludedRooms: readonly string[];
  };
  readonly userDirectory: {
    readonly enabled: boolean;
    readonly searchAllUsers: boolean;
    readonly preferLocalUsers: boolean;
    readonly excludeRemoteUsers: boolean;
    readonly showLockedUsers: boolean;
  };
  readonly sync: {
    /** Most timeline events a filter may ask for; undefined: no limit. */
    readonly filterTimelineLimit: number | undefined;
    /** How long the answer to a repeated request stays; 0: not at all. */
    readonly responseCacheMs: number;
  };
  readonly push: {
    readonly enabled: boolean;
    readonly includeContent: boolean;
    readonly countRooms: boolean;
    readonly jitterMs: number;
    /** Users follow threads one by one (MSC4306). */
    readonly threadsAreFollowed: boolean;
  };

  readonly media: {
    readonly enabled: boolean;
    readonly storePath: string;
    readonly maxUploadBytes: number;
    readonly maxImagePixels: number;
    readonly dynamicThumbnails: boolean;
    readonly thumbnailSizes: readonly ThumbnailSize[];
    readonly localLifetimeMs: number | undefined;
    readonly remoteLifetimeMs: number | undefined;
    readonly maxPendingUploads: number;
    readonly pendingUploadLifetimeMs: number;
    readonly authenticatedOnly: boolean;
    readonly blockedServers: readonly ServerName[];
    readonly remoteDownload: { readonly bytesPerSecond: number; readonly burstBytes: number };
    /** How much is kept of other servers' media; undefined: all. */
    readonly remoteCacheBytes: number | undefined;
    readonly uploadLimits: readonly {
      readonly periodMs: number;
      readonly maxBytes: number;
      /** A page that explains the limit. */
      readonly infoUri: string | undefined;
      /** Whether users can do something about it. */
      readonly canBeRaised: boolean;
    }[];
  };
  readonly urlPreviews: {
    readonly enabled: boolean;
    readonly deny: readonly string[];
    readonly allow: readonly string[];
    /** What an address has to be like in all these parts to be left alone. */
    readonly blockedUrls: readonly (readonly { readonly part: UrlPart; readonly pattern: RegExp }[])[];
    readonly maxPageBytes: number;
    readonly acceptLanguage: readonly string[];
    readonly oembedDefaultProviders: boolean;
    readonly oembedProviders: readonly OembedProvider[];
  };

  /** CIDR ranges that outgoing requests may not, or in spite of that may, reach. */
  readonly outbound: {
    readonly deny: readonly string[];
    readonly allow: readonly string[];
    readonly httpProxy: string | undefined;
    readonly httpsProxy: string | undefined;
    readonly noProxyHosts: readonly string[] | undefined;
    /** Put at the end of what this server calls itself. */
    readonly userAgentSuffix: string | undefined;
  };
  readonly federation: {
    /** Undefined: federate with everybody. */
    readonly allowedServers: readonly ServerName[] | undefined;
    readonly allowedServersEndpoint: boolean;
    readonly verifyCertificates: boolean;
    readonly minimumTlsVersion: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';
    /** Globs of servers whose certificates are not checked. */
    readonly unverifiedServers: readonly string[];
    /** PEM files that replace the system's authorities. */
    readonly customCaPaths: readonly string[] | undefined;
    readonly deviceNameLookup: boolean;
    readonly clientTimeoutMs: number;
    readonly maxShortRetryDelayMs: number;
    readonly maxLongRetryDelayMs: number;
    readonly maxShortRetries: number;
    readonly maxLongRetries: number;
    readonly destinationMinRetryMs: number;
    readonly destinationRetryMultiplier: number;
    readonly destinationMaxRetryMs: number;
    readonly receiptTransactionsPerRoomPerSecond: number;
    readonly inbound: {
      readonly windowMs: number;
      readonly sleepLimit: number;
      readonly sleepDelayMs: number;
      readonly rejectLimit: number;
      readonly concurrent: number;
    };
  };

  readonly rateLimits: {
    readonly message: RateLimit;
    readonly registration: RateLimit;
    readonly registrationTokenValidity: RateLimit;
    readonly loginAddress: RateLimit;
    readonly loginAccount: RateLimit;
    readonly loginFailedAttempts: RateLimit;
    /** Undefined: `message` counts. */
    readonly adminRedaction: RateLimit | undefined;
    readonly joinsLocal: RateLimit;
    readonly joinsRemote: RateLimit;
    readonly joinsPerRoom: RateLimit;
    readonly threepidValidation: RateLimit;
    readonly invitesPerRoom: RateLimit;
    readonly invitesPerUser: RateLimit;
    readonly invitesPerIssuer: RateLimit;
    readonly thirdPartyInvite: RateLimit;
    readonly mediaCreate: RateLimit;
    readonly presencePerUser: RateLimit;
    readonly delayedEventManagement: RateLimit;
    readonly reports: RateLimit;
    readonly roomCreation: RateLimit;
    readonly userDirectory: RateLimit;
  };

  readonly email:
    | {
        readonly host: string;
        readonly port: number;
        readonly user: string | undefined;
        readonly password: string | undefined;
        readonly tls: 'implicit' | 'required' | 'opportunistic' | 'off';
        readonly tlsName: string | undefined;
        readonly from: string;
        readonly appName: string;
        readonly notifications: boolean;
        readonly notificationsForNewUsers: boolean;
        readonly notificationDelayMs: number;
        readonly clientBaseUrl: string;
        readonly inviteClientLocation: string | undefined;
        readonly validationTokenLifetimeMs: number;
        readonly subjects: Readonly<Record<string, string>>;
      }
    | undefined;
  /** Directories with templates that go before the built-in ones, the first to be looked at first. */
  readonly templateDirectories: readonly string[];
  /** A policy that users have to agree to. */
  readonly userConsent:
    | {
        /** Has a template for each version, and `success.html`. */
        readonly policyDirectory: string;
        readonly version: string;
        readonly policyName: string;
        readonly formSecret: string;
        readonly requiredAtRegistration: boolean;
        readonly blockEventsError: string | undefined;
        /** The notice that users are asked with; `%(consent_uri)s` in its texts becomes their link. */
        readonly noticeContent: JsonObject | undefined;
        readonly noticesToGuests: boolean;
      }
    | undefined;
  /** Accounts that expire. */
  readonly accountValidity:
    | {
        readonly periodMs: number;
        readonly renewAtMs: number | undefined;
        readonly subject: string;
        readonly renewedPage: string;
        readonly invalidPage: string;
      }
    | undefined;
  readonly turn: {
    readonly uris: readonly string[];
    readonly sharedSecret: string | undefined;
    readonly username: string | undefined;
    readonly password: string | undefined;
    readonly userLifetimeMs: number;
    readonly guestsAllowed: boolean;
  };
  /** What carries group calls (MSC4143), as clients understand it. */
  readonly rtcTransports: readonly JsonObject[];
  readonly serverNotices:
    | {
        readonly userId: UserId;
        readonly displayName: string | undefined;
        readonly avatarUrl: string | undefined;
        readonly roomName: string;
        readonly roomAvatarUrl: string | undefined;
        readonly roomTopic: string | undefined;
        readonly autoJoin: boolean;
      }
    | undefined;
  readonly appServices: {
    readonly registrations: readonly AppServiceRegistration[];
    /** Whether it is remembered from where they use the devices of their users. */
    readonly tracksAddresses: boolean;
    /** Whether they are sent their token in the address, too. */
    readonly tokenInAddress: boolean;
  };
  readonly adminContact: string | undefined;
  /** The reason users are shut out with; undefined: they are not. */
  readonly disabledReason: string | undefined;
  readonly usageLimit: {
    readonly enabled: boolean;
    readonly countOnly: boolean;
    readonly maxMonthlyUsers: number;
    readonly trialDays: number;
  };
}

/** An application service, as its registration describes it (spec: application service API, "Registration"). */
export interface AppServiceRegistration {
  readonly id: string;
  /** Where it listens; undefined: nothing is sent to it. */
  readonly url: string | undefined;
  readonly asToken: string;
  readonly hsToken: string;
  readonly senderUserId: UserId;
  readonly rateLimited: boolean;
  readonly protocols: readonly string[];
  readonly receivesEphemeral: boolean;
  /** Device lists and counts of one-time keys (MSC3202). */
  readonly receivesDeviceNews: boolean;
  readonly namespaces: {
    readonly users: readonly AppServiceNamespace[];
    readonly aliases: readonly AppServiceNamespace[];
    readonly rooms: readonly AppServiceNamespace[];
  };
}

export interface AppServiceNamespace {
  readonly pattern: RegExp;
  readonly exclusive: boolean;
}
