import { Reply } from '../../../http/route.ts';
import type { Templates } from '../../../mail/index.ts';
import { RECAPTCHA, REGISTRATION_TOKEN, TERMS } from '../service/interactive-auth.ts';
import type { Proofs } from '../service/proofs.ts';
import { messagePage } from './pages.ts';

const BASE = [
  "default-src 'none'",
  "style-src 'self' 'unsafe-inline' https:",
  "img-src 'self' https: data:",
  "base-uri 'none'",
  "frame-ancestors 'none'",
];
/** Where the captcha comes from, which loads more of itself. */
const CAPTCHA_HOSTS = [
  'https://www.recaptcha.net/recaptcha/',
  'https://www.google.com/recaptcha/',
  'https://www.gstatic.com/recaptcha/',
  'https://www.gstatic.cn/recaptcha/',
].join(' ');
const PLAIN = [...BASE, "script-src 'unsafe-inline'"].join('; ');
const WITH_CAPTCHA = [
  ...BASE,
  `script-src 'unsafe-inline' ${CAPTCHA_HOSTS}`,
  `frame-src ${CAPTCHA_HOSTS}`,
  `connect-src ${CAPTCHA_HOSTS}`,
].join('; ');

function page(html: string, policy: string, status = 200): Reply {
  return new Reply({
    status,
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': policy,
      'cache-control': 'no-store',
    },
    body: html,
  });
}

/** The page of a stage that comes from a template; undefined for stages whose page does not, or that are not on offer. */
export function wordedStagePage(options: {
  readonly stage: string;
  readonly session: string;
  readonly action: string;
  readonly error: string | undefined;
  readonly proofs: Proofs;
  readonly templates: Templates | undefined;
}): Reply | undefined {
  const { stage, session, action, error, proofs, templates } = options;
  if (templates === undefined) return undefined;
  const vars = { session, myurl: action, ...(error === undefined ? {} : { error }) };
  const status = error === undefined ? 200 : 401;
  if (stage === RECAPTCHA && proofs.captcha !== undefined) {
    return page(
      templates.render('recaptcha.html', { ...vars, sitekey: proofs.captcha.publicKey }),
      WITH_CAPTCHA,
      status,
    );
  }
  if (stage === TERMS && proofs.terms !== undefined) {
    return page(templates.render('terms.html', { ...vars, terms_url: proofs.terms.url }), PLAIN, status);
  }
  if (stage === REGISTRATION_TOKEN && templates.has('registration_token.html')) {
    return page(templates.render('registration_token.html', vars), PLAIN, status);
  }
  return undefined;
}

/** The end of a stage whose form a browser has sent by itself. */
export function thankYou(templates: Templates | undefined): Reply {
  if (templates === undefined) {
    return messagePage('Thank you', 'You can close this window and go back to the application.', 200);
  }
  return page(templates.render('auth_success.html', {}), PLAIN);
}
