import type { GuardedHttp } from '../../../federation/outbound/guarded-http.ts';
import type { RateLimit } from '../../../http/rate-limit.ts';
import type { Requester } from '../../../http/route.ts';
import type { Mailer, Templates } from '../../../mail/index.ts';
import type { RoomId, ServerName, UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { SigningKey } from '../../../matrix/signing.ts';
import type { EventSender, StateReader } from '../../../rooms/types.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import type { Random } from '../../../util/random.ts';
import type { Medium } from '../store.ts';

/** What an administrator decides about addresses. */
export interface ThirdPartySettings {
  readonly serverName: ServerName;
  readonly publicBaseUrl: string;
  /** Undefined: any address may be bound. A pattern has to match from its first character on. */
  readonly allowedThreepids: readonly { readonly medium: Medium; readonly pattern: RegExp }[] | undefined;
  readonly changesAllowed: boolean;
  /** Whether users may ask identity servers who is behind an address. */
  readonly lookupAllowed: boolean;
  /** Not to let on whether an address is in use. */
  readonly inhibitErrors: boolean;
  /** Domains that may be led to after a validation; undefined: any. */
  readonly nextLinkDomains: readonly string[] | undefined;
  /** The server that sends text messages for this one. */
  readonly msisdnDelegate: string | undefined;
  readonly msisdnRegistration: boolean;
  readonly tokenLifetimeMs: number;
  /** The web client that the invited are pointed to. */
  readonly inviteClientLocation: string | undefined;
}

/** Others to be told of addresses that come and go. */
export interface ThreepidHooks {
  /** `registering`: it came with a new account. */
  readonly onAdded: readonly ((
    tx: WriteTx,
    userId: UserId,
    threepid: { readonly medium: Medium; readonly address: string; readonly registering: boolean },
  ) => void)[];
  readonly onRemoved: readonly ((
    tx: WriteTx,
    userId: UserId,
    threepid: { readonly medium: string; readonly address: string },
  ) => void)[];
}

/** Who invites; every requester can. */
export type Inviter = Pick<Requester, 'userId' | 'isGuest' | 'isAdmin' | 'isSuspended' | 'rateLimited'>;

interface Guard {
  guard<Input>(
    request: {
      readonly requester: Requester;
      readonly operation: string;
      readonly body: JsonObject;
      readonly ip: string;
      readonly read: (body: JsonObject) => Input;
    },
    act: (input: Input) => Promise<object> | object,
  ): Promise<object>;
}

export interface ThirdPartyIdsNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly settings: ThirdPartySettings;
  readonly mailer: Mailer;
  readonly templates: Templates;
  /** To servers that users name. */
  readonly http: GuardedHttp;
  /** To servers that the configuration names. */
  readonly trustedHttp: GuardedHttp;
  readonly signingKey: SigningKey;
  readonly interactiveAuth: Guard;
  readonly hooks: ThreepidHooks;
  /** For an address of the network or an address to validate. */
  readonly limit: RateLimit;
  /** For a user who invites by addresses. */
  readonly inviteLimit: RateLimit;
  readonly sender: Pick<EventSender, 'send'>;
  readonly state: Pick<StateReader, 'findCurrent'>;
  readonly profiles: {
    find(
      userId: UserId,
    ): { readonly displayName?: string | undefined; readonly avatarUrl?: string | undefined } | undefined;
  };
  /** A common invite, after its limits were looked at. */
  readonly invite: (by: Inviter, roomId: RoomId, invitee: UserId) => Promise<unknown>;
  /** Throws what sending the event would throw by the rules of the room. */
  readonly checkDraft: (draft: {
    readonly roomId: RoomId;
    readonly type: string;
    readonly sender: UserId;
    readonly stateKey: string;
    readonly content: JsonObject;
  }) => void;
}
