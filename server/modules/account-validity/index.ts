import { route, type Route } from '../../http/route.ts';
import { templatePage } from '../../http/template-page.ts';
import { userId as userIdSchema } from '../../http/schemas.ts';
import { Type } from '../../http/type.ts';
import { MailError, type Mailer, type Templates } from '../../mail/index.ts';
import { forbidden, MatrixError, notFound } from '../../matrix/errors.ts';
import type { UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { Database, WriteTx } from '../../storage/types.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import { type Random, randomString } from '../../util/random.ts';
import { ValidityStore } from './store.ts';

export { migrations } from './schema.ts';

export interface ValiditySettings {
  readonly publicBaseUrl: string;
  readonly periodMs: number;
  /** How long before the end people are written to; undefined: they are not. */
  readonly renewAtMs: number | undefined;
  readonly subject: string;
  /** Names of templates. */
  readonly renewedPage: string;
  readonly invalidPage: string;
}

export interface ValidityNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly settings: ValiditySettings;
  readonly mailer: Mailer;
  readonly templates: Templates;
  readonly users: { exists(userId: UserId): boolean; listLocalUsers(): readonly UserId[] };
  /** The mail addresses of a user. */
  readonly addressesOf: (userId: UserId) => readonly string[];
  readonly displayNameOf: (userId: UserId) => string | undefined;
}

const LOOK_EVERY_MS = 30 * 60_000;

/** Accounts that have to be renewed from time to time (as Synapse has it; not in the spec). */
export function accountValidity(needs: ValidityNeeds): Module & {
  isExpired(userId: UserId): boolean;
  onRegistered(tx: WriteTx, userId: UserId): void;
  removeOfUser(tx: WriteTx, userId: UserId): void;
} {
  const { db, clock, random, log, settings, mailer, templates, users } = needs;
  const store = new ValidityStore(db);
  const base = settings.publicBaseUrl.replace(/\/+$/, '');
  let timer: Timer | undefined;

  /** Writes to all addresses of a user. Without one, they are marked as written to all the same, or asked for for ever. */
  function remind(userId: UserId, expiresMs: number): void {
    const addresses = needs.addressesOf(userId);
    const token = addresses.length === 0 ? null : randomString(random, 32);
    db.write((tx) => {
      store.remind(tx, userId, token);
      if (token === null) return;
      const url = `${base}/_matrix/client/unstable/account_validity/renew?${new URLSearchParams({ token }).toString()}`;
      for (const to of addresses) {
        mailer.send(
          {
            to,
            template: 'notice_expiry',
            subject: settings.subject.replaceAll('%(app)s', mailer.appName),
            vars: { display_name: needs.displayNameOf(userId) ?? userId, expiration_ts: expiresMs, url },
          },
          tx,
        );
      }
    });
  }

  function remindAll(): void {
    if (settings.renewAtMs === undefined || !mailer.isEnabled) return;
    for (const { userId, expiresMs } of store.listUnreminded(clock.now() + settings.renewAtMs)) {
      try {
        remind(userId, expiresMs);
      } catch (error) {
        if (!(error instanceof MailError)) throw error;
        log.warn({ userId, reason: error.message }, 'somebody could not be told that their account expires');
      }
    }
  }

  function look(): void {
    try {
      remindAll();
    } catch (error) {
      log.error({ err: error }, 'mails about accounts that expire could not be written');
    }
    timer = clock.after(LOOK_EVERY_MS, look);
  }

  function renew(token: string): { readonly expiresMs: number; readonly fresh: boolean } | undefined {
    const found = store.findByToken(token);
    if (found === undefined) return undefined;
    if (found.tokenUsed) return { expiresMs: found.expiresMs, fresh: false };
    const expiresMs = clock.now() + settings.periodMs;
    db.write((tx) => {
      store.set(tx, found.userId, expiresMs, false);
      store.useToken(tx, found.userId, clock.now());
    });
    return { expiresMs, fresh: true };
  }

  const routes: Route[] = [
    route({
      method: 'GET',
      path: '/_matrix/client/unstable/account_validity/renew',
      auth: 'none',
      query: Type.Object({ token: Type.String({ maxLength: 255 }) }),
      handle: ({ query: { token } }) => {
        const renewed = renew(token);
        if (renewed === undefined) return templatePage(templates.render(settings.invalidPage, {}), 404);
        const name = renewed.fresh ? settings.renewedPage : 'account_previously_renewed.html';
        return templatePage(templates.render(name, { expiration_ts: renewed.expiresMs }));
      },
    }),
    route({
      method: 'POST',
      path: '/_matrix/client/unstable/account_validity/send_mail',
      auth: 'user',
      locked: true,
      handle: ({ requester: { userId } }) => {
        const found = store.find(userId);
        if (settings.renewAtMs === undefined || !mailer.isEnabled || found === undefined) {
          throw forbidden('Accounts are not renewed by mail here');
        }
        if (needs.addressesOf(userId).length === 0) {
          throw new MatrixError('M_THREEPID_NOT_FOUND', 'This account has no mail address', { status: 400 });
        }
        remind(userId, found.expiresMs);
        return {};
      },
    }),
    route({
      method: 'POST',
      path: '/_synapse/admin/v1/account_validity/validity',
      auth: 'user',
      resource: 'client',
      body: Type.Object({
        user_id: userIdSchema,
        expiration_ts: Type.Optional(Type.Union([Type.Integer(), Type.Null()])),
        enable_renewal_emails: Type.Optional(Type.Boolean()),
      }),
      handle: ({ requester, body }) => {
        if (!requester.isAdmin) throw forbidden('Only administrators of this server may do this');
        if (!users.exists(body.user_id)) throw notFound('There is no such user here');
        const expiresMs = body.expiration_ts ?? clock.now() + settings.periodMs;
        db.write((tx) => store.set(tx, body.user_id, expiresMs, body.enable_renewal_emails === false));
        return { expiration_ts: expiresMs };
      },
    }),
  ];

  return {
    name: 'account-validity',
    routes,
    start: () => {
      // Accounts from before this was wished for get a whole term.
      const all = users.listLocalUsers();
      db.write((tx) => {
        for (const userId of all) store.begin(tx, userId, clock.now() + settings.periodMs);
      });
      look();
    },
    stop: () => timer?.cancel(),
    isExpired: (userId) => {
      const found = store.find(userId);
      return found !== undefined && found.expiresMs <= clock.now();
    },
    onRegistered: (tx, userId) => store.begin(tx, userId, clock.now() + settings.periodMs),
    removeOfUser: (tx, userId) => store.remove(tx, userId),
  };
}
