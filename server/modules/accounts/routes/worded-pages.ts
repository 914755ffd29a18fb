import type { Reply } from '../../../http/route.ts';
import { templatePage } from '../../../http/template-page.ts';
import type { Templates } from '../../../mail/index.ts';
import { RECAPTCHA, REGISTRATION_TOKEN, TERMS } from '../service/interactive-auth.ts';
import type { Proofs } from '../service/proofs.ts';
import { messagePage } from './pages.ts';

/** Where the captcha comes from, which loads more of itself. */
const CAPTCHA_HOSTS = [
  'https://www.recaptcha.net/recaptcha/',
  'https://www.google.com/recaptcha/',
  'https://www.gstatic.com/recaptcha/',
  'https://www.gstatic.cn/recaptcha/',
].join(' ');
const SCRIPTS = ["script-src 'unsafe-inline'"];
const WITH_CAPTCHA = [
  `script-src 'unsafe-inline' ${CAPTCHA_HOSTS}`,
  `frame-src ${CAPTCHA_HOSTS}`,
  `connect-src ${CAPTCHA_HOSTS}`,
];

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
    return templatePage(
      templates.render('recaptcha.html', { ...vars, sitekey: proofs.captcha.publicKey }),
      status,
      WITH_CAPTCHA,
    );
  }
  if (stage === TERMS && proofs.terms !== undefined) {
    return templatePage(templates.render('terms.html', { ...vars, terms_url: proofs.terms.url }), status, SCRIPTS);
  }
  if (stage === REGISTRATION_TOKEN && templates.has('registration_token.html')) {
    return templatePage(templates.render('registration_token.html', vars), status, SCRIPTS);
  }
  return undefined;
}

/** The end of a stage whose form a browser has sent by itself. */
export function thankYou(templates: Templates | undefined): Reply {
  if (templates === undefined) {
    return messagePage('Thank you', 'You can close this window and go back to the application.', 200);
  }
  return templatePage(templates.render('auth_success.html', {}), 200, SCRIPTS);
}
