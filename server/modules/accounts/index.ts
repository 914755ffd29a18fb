import type { Authenticator } from '../../http/authenticate.ts';
import type { Module } from '../../module.ts';
import type { DeviceId, UserId } from '../../matrix/identifiers.ts';
import type { WriteTx } from '../../storage/types.ts';
import type { Timer } from '../../util/clock.ts';
import { accountRoutes } from './routes/account.ts';
import { browserRoutes } from './routes/browser.ts';
import { JOIN_PATH, joinRoutes } from './routes/joining.ts';
import { loginRoutes } from './routes/login.ts';
import { registrationRoutes } from './routes/registration.ts';
import { createAccountMaker } from './service/account-maker.ts';
import { createAccountManagement } from './service/account-management.ts';
import {
  type AccountAdministration,
  type AccountLookup,
  createAdministration,
  createLookup,
  createRegistrationTokens,
  type RegistrationTokens,
} from './service/administration.ts';
import { createAuthenticator, TokenMemory } from './service/authenticator.ts';
import { createCredentials } from './service/credentials.ts';
import { createDepartures } from './service/departures.ts';
import {
  createGuard,
  type Flow,
  type InteractiveAuth,
  InteractiveAuthSessions,
  PASSWORD,
} from './service/interactive-auth.ts';
import { createJoining } from './service/joining.ts';
import { createLogin } from './service/login.ts';
import type { AccountsNeeds } from './service/needs.ts';
import type { Proofs } from './service/proofs.ts';
import { createOwners, type Owners } from './service/owners.ts';
import { checkNewPassword, createPasswords } from './service/passwords.ts';
import { createRegistration } from './service/registration.ts';
import { createRegistrationGate, type RegistrationGate } from './service/registration-gate.ts';
import { createSetup, type SetupLink } from './service/setup.ts';
import { createSharedSecretRegistration } from './service/shared-secret.ts';
import { createStages, stageParams } from './service/stages.ts';
import { createTokens } from './service/tokens.ts';
import { createUsernames } from './service/usernames.ts';
import { RegistrationTokenStore } from './store/registration-tokens.ts';
import { TokenStore } from './store/tokens.ts';
import { UiAuthSessionStore } from './store/ui-auth-sessions.ts';
import { UserStore } from './store/users.ts';

export { migrations } from './schema.ts';
export { type CaptchaSettings, createCaptcha } from './service/captcha.ts';
export type { AccountsNeeds } from './service/needs.ts';
export type { Proofs } from './service/proofs.ts';
export type { AccountsSettings } from './service/settings.ts';

/** What the rest of the server uses of accounts. */
export interface AccountsModule extends Module {
  readonly authenticator: Authenticator;
  readonly interactiveAuth: InteractiveAuth;
  readonly lookup: AccountLookup;
  readonly administration: AccountAdministration;
  readonly registrationTokens: RegistrationTokens;
  readonly registrationGate: RegistrationGate;
  readonly setupLink: SetupLink;
  readonly owners: Owners;
  /** Path and query of the page on which somebody makes an account by a registration token. */
  readonly joinPath: (token: string) => string;
  /** Throws M_WEAK_PASSWORD. */
  readonly checkNewPassword: (password: string) => void;
  /** Throws M_FORBIDDEN where nobody can register. */
  readonly checkRegistrationOpen: () => void;
  /** Whether a user may change their password with a client. */
  readonly canChangePassword: (userId: UserId) => boolean;
  /** Makes all tokens of a device void: what has to happen when it is removed. */
  readonly revokeDeviceTokens: (tx: WriteTx, userId: UserId, deviceId: DeviceId) => void;
}

const PRUNE_EVERY_MS = 3_600_000;
/** How long a registration token that is good for nobody any more is kept, so that it can be seen what became of it. */
const ENDED_TOKENS_KEPT_MS = 30 * 86_400_000;

/** Accounts, logging in, and who someone is (spec: "Client Authentication"). */
export function accounts(needs: AccountsNeeds): AccountsModule {
  const { db, clock, random, log, settings, limits, devices, hooks, appservices } = needs;
  const { serverName, passwords: passwordSettings } = settings;
  const proofs = (): Proofs => needs.proofs?.() ?? {};

  const users = new UserStore(db);
  const tokenStore = new TokenStore(db);
  const registrationTokenStore = new RegistrationTokenStore(db);
  const memory = new TokenMemory();
  const passwords = createPasswords({ pepper: passwordSettings.pepper, random });
  const usernames = createUsernames({
    users,
    serverName,
    underscorePrefixAllowed: settings.registration.underscorePrefixAllowed,
    appservices,
  });
  const maker = createAccountMaker({ clock, random, serverName, users, memory, usernames, devices, hooks });
  const tokens = createTokens({
    db,
    clock,
    random,
    users,
    store: tokenStore,
    devices,
    settings: settings.sessions,
    forget: (tx, userId) => memory.forget(tx, userId),
    isCrossSigningKey: needs.isCrossSigningKey ?? (() => false),
  });
  const credentials = createCredentials({
    db,
    users,
    passwords,
    serverName,
    failedAttempts: limits.loginFailedAttempts,
    findByThreepid: (medium, address) => proofs().threepids?.findOwner(medium, address),
  });
  const stages = createStages({ db, clock, credentials, registrationTokens: registrationTokenStore, limits, proofs });
  const sessions = new InteractiveAuthSessions({
    db,
    clock,
    random,
    store: new UiAuthSessionStore(db),
    registrationTokens: registrationTokenStore,
    stages,
    params: (stage) => stageParams(stage, proofs()),
  });

  const passwordsWork = passwordSettings.enabled !== 'no' && passwordSettings.localDatabase;
  const flowsOf = (userId: UserId): readonly Flow[] =>
    passwordsWork && users.find(userId)?.hasPassword === true ? [[PASSWORD]] : [];

  const interactiveAuth = createGuard({
    db,
    clock,
    sessions,
    tokens: tokenStore,
    timeoutMs: settings.sessions.uiAuthTimeoutMs,
    flowsOf,
  });
  const departures = createDepartures({ db, log, users, tokens: tokenStore, memory, sessions, devices, hooks });
  const management = createAccountManagement({
    db,
    clock,
    settings: passwordSettings,
    users,
    tokens: tokenStore,
    passwords,
    sessions,
    departures,
    devices,
    addressLimit: limits.loginAddress,
    resetLimit: limits.passwordReset,
    flowsOf,
    proofs,
  });
  const registrationGate = createRegistrationGate(settings.registration);
  const registration = createRegistration({
    db,
    clock,
    settings,
    gate: registrationGate,
    limit: limits.registration,
    users,
    tokenStore,
    tokens,
    passwords,
    usernames,
    maker,
    sessions,
    registrationTokens: registrationTokenStore,
    appservices,
    proofs,
  });
  const login = createLogin({
    db,
    settings,
    users,
    credentials,
    tokens,
    addressLimit: limits.loginAddress,
    accountLimit: limits.loginAccount,
    appservices,
  });
  const setup = createSetup({ db, random, users, usernames, passwords, maker, policy: passwordSettings.policy });
  const sharedSecret = createSharedSecretRegistration({
    db,
    clock,
    random,
    settings: settings.registration,
    usernames,
    passwords,
    maker,
    tokens,
  });

  const joining = createJoining({
    db,
    clock,
    settings,
    tokens: registrationTokenStore,
    usernames,
    passwords,
    maker,
    limits: { guessing: limits.registrationTokenValidity, registration: limits.registration },
  });

  let timer: Timer | undefined;
  const prune = (): void => {
    sessions.prune();
    db.write((tx) => {
      tokenStore.removeExpiredLogin(tx, clock.now());
      registrationTokenStore.removeEnded(tx, clock.now() - ENDED_TOKENS_KEPT_MS);
    });
    timer = clock.after(PRUNE_EVERY_MS, prune);
  };

  return {
    name: 'accounts',
    routes: [
      ...registrationRoutes({
        serverName,
        registration,
        sharedSecret,
        tokenValidityLimit: limits.registrationTokenValidity,
      }),
      ...loginRoutes({
        db,
        settings,
        login,
        tokens,
        devices,
        interactiveAuth,
        loginTokenLimit: limits.loginToken,
      }),
      ...accountRoutes({ management, policy: passwordSettings.policy }),
      ...joinRoutes({ joining, settings }),
      ...browserRoutes({
        settings,
        sessions,
        setup,
        addressLimit: limits.loginAddress,
        proofs,
        templates: needs.templates,
      }),
    ],
    start: () => {
      departures.resume();
      prune();
    },
    stop: async () => {
      timer?.cancel();
      await departures.stop();
    },
    authenticator: createAuthenticator({
      db,
      clock,
      users,
      store: tokenStore,
      tokens,
      memory,
      devices,
      appservices,
      isExpired: needs.isExpired ?? (() => false),
    }),
    interactiveAuth,
    lookup: createLookup(users),
    administration: createAdministration({
      db,
      users,
      memory,
      passwords,
      usernames,
      maker,
      tokens,
      departures,
      devices,
      hooks,
    }),
    registrationTokens: createRegistrationTokens({ db, clock, random, store: registrationTokenStore }),
    registrationGate,
    setupLink: setup,
    owners: createOwners({
      db,
      users,
      usernames,
      passwords,
      maker,
      credentials,
      policy: passwordSettings.policy,
    }),
    joinPath: (token) => `${JOIN_PATH}?token=${encodeURIComponent(token)}`,
    checkNewPassword: (password) => void checkNewPassword(password, passwordSettings.policy),
    checkRegistrationOpen: () => registration.checkOpen(),
    canChangePassword: (userId) => management.canChangePassword(userId),
    revokeDeviceTokens: (tx, userId, deviceId) => tokens.revokeOfDevice(tx, userId, deviceId),
  };
}
