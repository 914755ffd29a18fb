import type { ServerName } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';

/** Demands on new passwords; none count unless `enabled`. */
export interface PasswordPolicy {
  readonly enabled: boolean;
  readonly minimumLength: number;
  readonly requireDigit: boolean;
  readonly requireSymbol: boolean;
  readonly requireLowercase: boolean;
  readonly requireUppercase: boolean;
}

export interface PasswordSettings {
  /** `reauth`: existing passwords go on working, new ones cannot be set. */
  readonly enabled: 'yes' | 'no' | 'reauth';
  readonly localDatabase: boolean;
  readonly pepper: string;
  readonly policy: PasswordPolicy;
}

export interface RegistrationSettings {
  readonly enabled: boolean;
  /** Anybody may register without showing anything. */
  readonly withoutVerification: boolean;
  readonly requiresToken: boolean;
  readonly requiredThreepids: readonly string[];
  /** Whether newcomers may be asked for a phone number. */
  readonly msisdnDisabled?: boolean;
  readonly captcha: { readonly required: boolean } | undefined;
  /** Newcomers have to agree to the policy. */
  readonly requiresTerms?: boolean;
  readonly sharedSecret: string | undefined;
  readonly guestsAllowed: boolean;
  /** Does not tell which names are taken before the registration is complete. */
  readonly inhibitUserInUseError: boolean;
  readonly underscorePrefixAllowed: boolean;
  readonly defaultUserType: string | undefined;
  readonly extraUserTypes: readonly string[];
}

/** Lifetimes in ms; undefined means for ever. */
export interface SessionSettings {
  /** From login on, however often its tokens are refreshed. */
  readonly lifetimeMs: number | undefined;
  readonly refreshTokenLifetimeMs: number | undefined;
  readonly refreshableAccessTokenLifetimeMs: number;
  readonly nonrefreshableAccessTokenLifetimeMs: number | undefined;
  /** How long one proof of identity serves for further actions; 0: every action asks. */
  readonly uiAuthTimeoutMs: number;
  readonly loginViaExistingSession: {
    readonly enabled: boolean;
    readonly requireUiAuth: boolean;
    readonly tokenTimeoutMs: number;
  };
}

/** What an administrator decides about accounts. */
export interface AccountsSettings {
  readonly serverName: ServerName;
  /** What people type into a client as the address of this server; undefined where it has not been told. */
  readonly publicBaseUrl: string | undefined;
  /** Shown to clients that log in (spec: `well_known` of `POST /login`); undefined where the server has not been told its address. */
  readonly wellKnown: JsonObject | undefined;
  readonly registration: RegistrationSettings;
  readonly sessions: SessionSettings;
  readonly passwords: PasswordSettings;
}
