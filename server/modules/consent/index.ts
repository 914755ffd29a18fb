import { createHmac, timingSafeEqual } from 'node:crypto';
import { text as readText } from 'node:stream/consumers';
import { route, type Route } from '../../http/route.ts';
import { templatePage } from '../../http/template-page.ts';
import { Type } from '../../http/type.ts';
import type { Templates } from '../../mail/index.ts';
import { forbidden, MatrixError, missingParam, notFound } from '../../matrix/errors.ts';
import {
  buildUserId,
  isUserId,
  localpartOf,
  type ServerName,
  serverNameOf,
  type UserId,
} from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';
import type { Module } from '../../module.ts';
import type { Database, WriteTx } from '../../storage/types.ts';
import type { Clock } from '../../util/clock.ts';
import { ConsentStore } from './store.ts';

export { joiningWithConsent, withConsent } from './gate.ts';
export { migrations } from './schema.ts';

/** The policy of a server, and what follows for who has not agreed to it. */
export interface ConsentSettings {
  readonly serverName: ServerName;
  readonly publicBaseUrl: string;
  /** The version that holds. */
  readonly version: string;
  readonly policyName: string;
  /** Signs the links that people agree by. */
  readonly formSecret: string;
  readonly requiredAtRegistration: boolean;
  /** What people are told who write without having agreed; undefined: they may. `%(consent_uri)s` becomes the link. */
  readonly blockEventsError: string | undefined;
}

export interface ConsentNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly settings: ConsentSettings;
  /** The versions of the policy (`1.0.html`) and `success.html`. */
  readonly policies: Templates;
  /** This server's own pages. */
  readonly templates: Templates;
  readonly users: {
    exists(userId: UserId): boolean;
    find(
      userId: UserId,
    ): { readonly appserviceId?: string | undefined; readonly userType?: string | undefined } | undefined;
  };
  /** Somebody who had an account already has agreed: what waited for it can go on. */
  readonly onAgreed: (tx: WriteTx, userId: UserId) => void;
}

/** What the rest of the server asks about consent. */
export interface Consent {
  readonly version: string;
  hasAgreed(userId: UserId): boolean;
  /** Where a user can read the policy, and agree. */
  linkFor(userId: UserId): string;
  agreed(tx: WriteTx, userId: UserId): void;
  /** Throws M_CONSENT_NOT_GIVEN where a user has to agree before they may do something that others notice. */
  check(userId: UserId): void;
  removeOfUser(tx: WriteTx, userId: UserId): void;
  /** The parameters of `m.login.terms`; undefined where newcomers are not asked. */
  readonly terms: { readonly params: JsonObject; readonly url: string } | undefined;
}

/** Agreeing to the policy of the server, and reminding those who have not (as Synapse does it; the spec has only the errcode). */
export function consent(needs: ConsentNeeds): Module & { readonly consent: Consent } {
  const { db, clock, settings, policies, templates, users, onAgreed } = needs;
  const { serverName, version } = settings;
  const store = new ConsentStore(db);
  const base = `${settings.publicBaseUrl.replace(/\/+$/, '')}/_matrix/consent`;

  const sign = (user: string): Buffer => createHmac('sha256', settings.formSecret).update(user).digest();

  function isSigned(user: string, signature: string): boolean {
    const given = Buffer.from(/^[0-9a-f]{64}$/i.test(signature) ? signature : '', 'hex');
    const right = sign(user);
    return given.length === right.length && timingSafeEqual(given, right);
  }

  /** Either the whole user ID or what stands before the colon. */
  function readUser(user: string): UserId {
    const userId = user.startsWith('@') ? user : buildUserId(user, serverName);
    if (userId === undefined || !isUserId(userId) || serverNameOf(userId) !== serverName || !users.exists(userId)) {
      throw notFound('There is no such user here');
    }
    return userId;
  }

  function checkVersion(wanted: string): string {
    if (!policies.has(`${wanted}.html`)) throw notFound('There is no such version of the policy');
    return wanted;
  }

  const self: Consent = {
    version,
    hasAgreed: (userId) => store.findVersion(userId) === version,
    linkFor: (userId) => {
      const user = localpartOf(userId);
      return `${base}?${new URLSearchParams({ u: user, h: sign(user).toString('hex') }).toString()}`;
    },
    agreed: (tx, userId) => store.put(tx, userId, version, clock.now()),
    check: (userId) => {
      const { blockEventsError } = settings;
      if (blockEventsError === undefined || serverNameOf(userId) !== serverName || self.hasAgreed(userId)) return;
      const account = users.find(userId);
      // Programs agree to nothing; whoever is there to help must not need to.
      if (account === undefined || account.appserviceId !== undefined || account.userType === 'support') return;
      const link = self.linkFor(userId);
      throw new MatrixError('M_CONSENT_NOT_GIVEN', blockEventsError.replaceAll('%(consent_uri)s', link), {
        fields: { consent_uri: link },
      });
    },
    removeOfUser: (tx, userId) => store.remove(tx, userId),
    terms: settings.requiredAtRegistration
      ? {
          url: `${base}?${new URLSearchParams({ v: version }).toString()}`,
          params: {
            policies: {
              privacy_policy: {
                version,
                en: { name: settings.policyName, url: `${base}?${new URLSearchParams({ v: version }).toString()}` },
              },
            },
          },
        }
      : undefined,
  };

  const routes: Route[] = [
    route({
      method: 'GET',
      path: '/_matrix/consent',
      auth: 'none',
      resource: 'consent',
      query: Type.Object({
        u: Type.Optional(Type.String({ maxLength: 255 })),
        h: Type.Optional(Type.String({ maxLength: 128 })),
        v: Type.Optional(Type.String({ maxLength: 64 })),
      }),
      handle: ({ query: { u: user, h: signature, v } }) => {
        const wanted = checkVersion(v ?? version);
        if (user === undefined) {
          // Anybody may read what newcomers have to agree to.
          if (!settings.requiredAtRegistration) throw missingParam('The query parameter u is missing');
          return templatePage(
            policies.render(`${wanted}.html`, {
              user: '',
              userhmac: '',
              version: wanted,
              has_consented: false,
              public_version: true,
            }),
          );
        }
        if (!isSigned(user, signature ?? '')) return templatePage(templates.render('consent_invalid.html', {}), 403);
        const userId = readUser(user);
        return templatePage(
          policies.render(`${wanted}.html`, {
            user,
            userhmac: signature,
            version: wanted,
            has_consented: store.findVersion(userId) === wanted,
            public_version: false,
          }),
        );
      },
    }),
    route({
      method: 'POST',
      path: '/_matrix/consent',
      auth: 'none',
      resource: 'consent',
      rawBody: true,
      bodyLimit: 16_384,
      handle: async ({ bodyStream }) => {
        const form = new URLSearchParams(await readText(bodyStream));
        const user = form.get('u') ?? '';
        if (!isSigned(user, form.get('h') ?? '')) throw forbidden('This form was not made by this server');
        const userId = readUser(user);
        const agreedTo = checkVersion(form.get('v') ?? version);
        db.write((tx) => {
          store.put(tx, userId, agreedTo, clock.now());
          if (agreedTo === version) onAgreed(tx, userId);
        });
        const thanks = policies.has('success.html')
          ? policies.render('success.html', {})
          : templates.render('consent_success.html', {});
        return templatePage(thanks);
      },
    }),
  ];

  return { name: 'consent', routes, consent: self };
}
