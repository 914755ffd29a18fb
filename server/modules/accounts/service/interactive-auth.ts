import { createHmac } from 'node:crypto';
import { Reply, type Requester } from '../../../http/route.ts';
import { MatrixError, badJson, forbidden, tooLarge, unknownError } from '../../../matrix/errors.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import { randomString, type Random } from '../../../util/random.ts';
import type { RegistrationTokenStore } from '../store/registration-tokens.ts';
import type { TokenStore } from '../store/tokens.ts';
import type { UiAuthSession, UiAuthSessionStore } from '../store/ui-auth-sessions.ts';

/** How long a session waits for the user: mails are read late. */
const SESSION_LIFETIME_MS = 24 * 3_600_000;
/** How long the same request may be repeated, for a client that missed the answer. */
const REPEAT_MS = 10 * 60_000;
/** Anybody can begin sessions. The oldest go when there are more. */
const MAX_SESSIONS = 10_000;
/** What of a stranger's request is remembered, UTF-16 units: far more than any of those takes. */
const MAX_STRANGERS_BODY = 8_192;

/** A way to authenticate: the stages to complete, in this order. */
export type Flow = readonly string[];

/** What a stage is given to judge. */
export interface StageAttempt {
  /** The client's `auth` object. */
  readonly auth: JsonObject;
  /** Whose proof is wanted; undefined where there is no user yet. */
  readonly userId: UserId | undefined;
  /** What the proof is for. */
  readonly operation: string;
  readonly ip: string;
}

/**
 * One stage. Returns what it found out. Throws M_FORBIDDEN or M_UNAUTHORIZED if the client may try again; any other
 * MatrixError, and a `FinalRefusal`, ends the request.
 */
export type Stage = (attempt: StageAttempt) => Promise<JsonValue> | JsonValue;

/** A stage's M_FORBIDDEN that ends the request instead of asking again. */
export class FinalRefusal extends MatrixError {
  constructor(message: string) {
    super('M_FORBIDDEN', message);
  }
}

/** A request to something that wants proof. */
export interface AuthRequest {
  /** What is to be done, path parameters included. A session serves for one operation only. */
  readonly operation: string;
  readonly userId: UserId | undefined;
  readonly body: JsonObject;
  /** Keys of the body that are never stored. */
  readonly secrets?: readonly string[];
}

export interface ProofOptions {
  readonly flows: readonly Flow[];
  readonly ip: string;
  /** What to remember of the body's secrets. */
  readonly kept?: JsonObject;
  /** A different body does not void the stages completed before. Only right where no user's consent is at stake. */
  readonly bodyMayChange?: boolean;
  /** The session is spent at once: repeating the request asks again. */
  readonly once?: boolean;
  /** Stages that nobody asks for, but that may be completed. */
  readonly tolerated?: readonly string[];
}

/** Where an attempt has got: all stages of a flow are complete, or this is the answer. */
export type Proof =
  | { readonly done: true; readonly completed: JsonObject; readonly sessionId: string | undefined }
  | { readonly done: false; readonly reply: Reply };

/** A request on its way through interactive authentication. */
export interface AuthAttempt {
  /** What is asked for, without `auth`; what was asked for first, if this request only carries `auth`. */
  readonly body: JsonObject;
  /** What was remembered of the secrets, if the request is the one that began the session. */
  readonly kept: JsonObject | undefined;
  /** The user that a registration in this session has made. */
  readonly outcome: UserId | undefined;
  prove(options: ProofOptions): Promise<Proof>;
}

/** Interactive authentication for modules that guard something of a user's. */
export interface InteractiveAuth {
  /**
   * Does `act` once the user has proved who they are, else answers 401 with what to do (spec: "User-Interactive
   * Authentication API"). `read` checks the body, before the user is bothered; what it returns goes to `act`. Requests of
   * application services need no proof. `operation` says what is to be done, path parameters included. `always`: proof is
   * wanted even right after another.
   */
  guard<Input>(
    request: {
      readonly requester: Requester;
      readonly operation: string;
      readonly body: JsonObject;
      readonly ip: string;
      readonly always?: boolean;
      readonly once?: boolean;
      readonly read: (body: JsonObject) => Input;
    },
    act: (input: Input) => Promise<object> | object,
  ): Promise<object>;
}

export interface SessionsNeeds {
  readonly db: Database;
  readonly clock: Pick<Clock, 'now'>;
  readonly random: Random;
  readonly store: UiAuthSessionStore;
  readonly registrationTokens: RegistrationTokenStore;
  readonly stages: Readonly<Record<string, Stage>>;
  /** What clients have to know to complete a stage (spec: `params`). */
  readonly params?: (stage: string) => JsonObject | undefined;
}

/** The sessions of interactive authentication, whoever guards what with them. */
export class InteractiveAuthSessions {
  readonly #db: Database;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #random: Random;
  readonly #store: UiAuthSessionStore;
  readonly #registrationTokens: RegistrationTokenStore;
  readonly #stages: Readonly<Record<string, Stage>>;
  readonly #params: (stage: string) => JsonObject | undefined;
  // Bodies hold passwords: only a keyed digest of them may lie on disk, and the key does not.
  readonly #digestKey: Buffer;
  #begun = 0;

  constructor({ db, clock, random, store, registrationTokens, stages, params }: SessionsNeeds) {
    this.#db = db;
    this.#clock = clock;
    this.#random = random;
    this.#store = store;
    this.#registrationTokens = registrationTokens;
    this.#stages = stages;
    this.#params = params ?? (() => undefined);
    this.#digestKey = random.bytes(32);
  }

  /**
   * Takes up the session a request names, or begins one. Throws M_UNKNOWN if there is no such session, M_FORBIDDEN if it
   * is about something or somebody else, M_BAD_JSON if `auth` has the wrong shape.
   */
  open(request: AuthRequest): AuthAttempt {
    const { auth, ...given } = request.body;
    const details = readAuth(auth);
    const id = details?.['session'];
    const session = typeof id === 'string' ? this.#get(id) : undefined;
    if (session !== undefined && (session.operation !== request.operation || session.userId !== request.userId)) {
      throw forbidden('This authentication session was begun for something else');
    }
    const resumed = session !== undefined && Object.keys(given).length === 0;
    const digest = resumed ? session.bodyDigest : this.#digest(given);
    const changed = session !== undefined && !digest.equals(session.bodyDigest);
    return {
      body: resumed ? session.request.body : given,
      kept: changed ? undefined : session?.request.kept,
      outcome: session?.outcome,
      prove: (options) =>
        this.#prove(
          { request, given: resumed ? session.request.body : given, details, digest, changed, session },
          options,
        ),
    };
  }

  /**
   * Completes one stage from outside of the request: the fallback page. Throws what the stage throws; M_UNRECOGNIZED if
   * the stage is not one of those due.
   */
  async completeStage(sessionId: string, type: string, auth: JsonObject, ip: string): Promise<void> {
    const session = this.#get(sessionId);
    if (type in session.completed) return;
    if (!isDue(session.request.flows, session.completed, type)) {
      throw new MatrixError('M_UNRECOGNIZED', 'This session does not ask for that now', { status: 400 });
    }
    const result = await this.#run(type, { auth, userId: session.userId, operation: session.operation, ip });
    this.#db.write((tx) => {
      const fresh = this.#store.find(sessionId);
      if (fresh !== undefined) this.#store.put(tx, { ...fresh, completed: { ...fresh.completed, [type]: result } });
    });
  }

  /** Whether a session is there and waits for a stage. */
  isWaitingFor(sessionId: string, type: string): boolean {
    const session = this.#store.find(sessionId);
    if (session === undefined || session.expiresMs <= this.#clock.now()) return false;
    return !(type in session.completed) && isDue(session.request.flows, session.completed, type);
  }

  /** A registration is done: repeating it gives the same user for a while. */
  settle(tx: WriteTx, sessionId: string, outcome: UserId): void {
    const session = this.#store.find(sessionId);
    if (session !== undefined) this.#store.put(tx, { ...session, outcome, expiresMs: this.#clock.now() + REPEAT_MS });
  }

  /** The user that a registration in a session has made. */
  findOutcome(sessionId: string): UserId | undefined {
    return this.#store.find(sessionId)?.outcome;
  }

  /** Forgets sessions that have expired. */
  prune(): void {
    this.#db.write((tx) => this.#release(tx, this.#store.takeExpired(tx, this.#clock.now())));
  }

  /** Forgets the sessions of a user who is gone. */
  removeOfUser(tx: WriteTx, userId: UserId): void {
    this.#release(tx, this.#store.takeOfUser(tx, userId));
  }

  #get(id: string): UiAuthSession {
    const session = this.#store.find(id);
    if (session === undefined || session.expiresMs <= this.#clock.now()) {
      throw unknownError('This authentication session is not known, or has expired');
    }
    return session;
  }

  async #prove(
    attempt: {
      readonly request: AuthRequest;
      readonly given: JsonObject;
      readonly details: JsonObject | undefined;
      readonly digest: Buffer;
      readonly changed: boolean;
      readonly session: UiAuthSession | undefined;
    },
    options: ProofOptions,
  ): Promise<Proof> {
    const { request, details, changed } = attempt;
    if (options.flows.length === 0) throw forbidden('This account has no means to prove who you are');
    const { secrets = [] } = request;
    const body = Object.fromEntries(Object.entries(attempt.given).filter(([key]) => !secrets.includes(key)));
    if (request.userId === undefined && JSON.stringify(body).length > MAX_STRANGERS_BODY) {
      throw tooLarge('This is more than the request needs');
    }
    const before = attempt.session;
    const session: UiAuthSession = {
      id: before?.id ?? randomString(this.#random, 24),
      operation: request.operation,
      userId: request.userId,
      request: { body, kept: options.kept ?? {}, flows: options.flows },
      bodyDigest: attempt.digest,
      completed: before?.completed ?? {},
      outcome: before?.outcome,
      expiresMs: before?.expiresMs ?? this.#clock.now() + SESSION_LIFETIME_MS,
    };
    if (details === undefined) {
      this.#save(session);
      return { done: false, reply: this.#challenge(session) };
    }
    // Proof that was given for one request must not serve another.
    if (changed && options.bodyMayChange !== true && Object.keys(session.completed).length > 0) {
      throw forbidden('The request is not the one this authentication session was begun for');
    }

    const { type } = details;
    if (typeof type !== 'string' || type in session.completed)
      return this.#conclude(session, options, before !== undefined);
    if (!isDue(options.flows, session.completed, type) && options.tolerated?.includes(type) !== true) {
      this.#save(session);
      return {
        done: false,
        reply: this.#challenge(session, new MatrixError('M_UNRECOGNIZED', 'This stage is not asked for now')),
      };
    }
    let result: JsonValue;
    try {
      result = await this.#run(type, {
        auth: details,
        userId: session.userId,
        operation: session.operation,
        ip: options.ip,
      });
    } catch (error) {
      // What is not about the proof itself (a key is missing, too many attempts) is an error like any other.
      if (!mayTryAgain(error)) throw error;
      this.#save(session);
      return { done: false, reply: this.#challenge(session, error) };
    }
    // Another stage may have been completed meanwhile, on its fallback page.
    const completed = { ...session.completed, ...this.#store.find(session.id)?.completed, [type]: result };
    return this.#conclude({ ...session, completed }, options, before !== undefined);
  }

  #conclude(session: UiAuthSession, options: ProofOptions, known: boolean): Proof {
    const { completed } = session;
    const done = options.flows.some((flow) => flow.every((stage) => stage in completed));
    if (!done) {
      this.#save(session);
      return { done: false, reply: this.#challenge(session) };
    }
    if (options.once === true) {
      this.#db.write((tx) => this.#store.remove(tx, session.id));
      return { done: true, completed, sessionId: undefined };
    }
    // Nobody can come back to a session whose name was never told, unless it holds something that has to be given back.
    const worthKeeping = known || REGISTRATION_TOKEN in completed;
    if (worthKeeping) this.#save({ ...session, expiresMs: Math.min(session.expiresMs, this.#clock.now() + REPEAT_MS) });
    return { done: true, completed, sessionId: worthKeeping ? session.id : undefined };
  }

  async #run(type: string, attempt: StageAttempt): Promise<JsonValue> {
    const stage = this.#stages[type];
    if (stage === undefined) throw new MatrixError('M_UNRECOGNIZED', 'This stage is not known');
    return stage(attempt);
  }

  #save(session: UiAuthSession): void {
    this.#db.write((tx) => {
      this.#store.put(tx, session);
      this.#begun += 1;
      if (this.#begun % 100 === 0) this.#release(tx, this.#store.takeOldest(tx, MAX_SESSIONS));
    });
  }

  #release(tx: WriteTx, sessions: readonly UiAuthSession[]): void {
    for (const { completed, outcome } of sessions) {
      const token = completed[REGISTRATION_TOKEN];
      if (typeof token === 'string' && outcome === undefined) this.#registrationTokens.release(tx, token);
    }
  }

  #challenge(session: UiAuthSession, error?: MatrixError): Reply {
    const completed = Object.keys(session.completed);
    const stages = new Set(session.request.flows.flat());
    const params = [...stages].flatMap((stage) => {
      const own = this.#params(stage);
      return own === undefined ? [] : [[stage, own] as const];
    });
    return new Reply({
      status: 401,
      body: {
        ...(error === undefined ? {} : { errcode: error.errcode, error: error.message }),
        session: session.id,
        flows: session.request.flows.map((stagesOfFlow) => ({ stages: stagesOfFlow })),
        params: Object.fromEntries(params),
        ...(completed.length > 0 || error !== undefined ? { completed } : {}),
      },
    });
  }

  #digest(body: JsonObject): Buffer {
    return createHmac('sha256', this.#digestKey).update(JSON.stringify(body, sortKeys)).digest();
  }
}

export const PASSWORD = 'm.login.password';
export const DUMMY = 'm.login.dummy';
export const REGISTRATION_TOKEN = 'm.login.registration_token';
export const EMAIL = 'm.login.email.identity';
export const MSISDN = 'm.login.msisdn';
export const RECAPTCHA = 'm.login.recaptcha';
export const TERMS = 'm.login.terms';

export interface GuardNeeds {
  readonly db: Database;
  readonly clock: Pick<Clock, 'now'>;
  readonly sessions: InteractiveAuthSessions;
  readonly tokens: TokenStore;
  /** How long (ms) one proof serves for further operations. */
  readonly timeoutMs: number;
  readonly flowsOf: (userId: UserId) => readonly Flow[];
}

/** Interactive authentication of users who are logged in. */
export function createGuard({ db, clock, sessions, tokens, timeoutMs, flowsOf }: GuardNeeds): InteractiveAuth {
  function hasJustProved(tokenId: number | undefined): boolean {
    const token = tokenId === undefined || timeoutMs === 0 ? undefined : tokens.findAccessById(tokenId);
    return token !== undefined && clock.now() - token.validatedMs < timeoutMs;
  }

  return {
    guard: async ({ requester, operation, body, ip, always, once, read }, act) => {
      const { userId, tokenId } = requester;
      const attempt = sessions.open({ operation, userId, body });
      const input = read(attempt.body);
      // Spec: "Device management", 1.17; there is nobody to ask.
      const exempt = requester.appserviceId !== undefined || (always !== true && hasJustProved(tokenId));
      if (!exempt) {
        const proof = await attempt.prove({ flows: flowsOf(userId), ip, once: once ?? false });
        if (!proof.done) return proof.reply;
        if (tokenId !== undefined) db.write((tx) => tokens.validated(tx, tokenId, clock.now()));
      }
      return act(input);
    },
  };
}

/** Stages come in the order of their flow (spec: "User-Interactive Authentication API", overview). */
function isDue(flows: readonly Flow[], completed: JsonObject, type: string): boolean {
  return flows.some((flow) => {
    const at = flow.indexOf(type);
    return at !== -1 && flow.slice(0, at).every((stage) => stage in completed);
  });
}

function mayTryAgain(error: unknown): error is MatrixError {
  if (!(error instanceof MatrixError) || error instanceof FinalRefusal) return false;
  return error.errcode === 'M_FORBIDDEN' || error.errcode === 'M_UNAUTHORIZED';
}

function readAuth(auth: JsonValue | undefined): JsonObject | undefined {
  // Some clients send null until there is something to send.
  if (auth === undefined || auth === null) return undefined;
  if (!isJsonObject(auth)) throw badJson('The key auth must be an object');
  for (const key of ['type', 'session']) {
    if (auth[key] !== undefined && typeof auth[key] !== 'string') throw badJson(`The key auth.${key} must be text`);
  }
  return auth;
}

function sortKeys(_key: string, value: unknown): unknown {
  return isJsonObject(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value;
}
