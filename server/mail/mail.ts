import type { Database } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import type { Templates } from './index.ts';
import { createMailer, type MailSettings, type RunningMailer } from './mailer.ts';
import { createTemplates, OWN_TEMPLATES } from './templates.ts';
import { type SmtpSettings, smtpTransport } from './transport.ts';

export { mailMigrations } from './queue.ts';

/** What an administrator decides about mails and pages. */
export interface MailPartSettings {
  readonly serverName: string;
  readonly publicBaseUrl: string;
  /** Directories whose templates go before this server's own. */
  readonly templateDirectories: readonly string[];
  /** Undefined: no mail is sent. */
  readonly email: (SmtpSettings & Omit<MailSettings, 'serverName'>) | undefined;
}

/** Templates, and a mailer that has yet to be started. */
export function createMail(needs: {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: MailPartSettings;
}): { readonly templates: Templates; readonly mailer: RunningMailer } {
  const { db, clock, log, settings } = needs;
  const { serverName, publicBaseUrl, email } = settings;
  const templates = createTemplates({
    log,
    serverName,
    publicBaseUrl,
    directories: [...settings.templateDirectories, OWN_TEMPLATES],
  });
  const mailer = createMailer({
    db,
    clock,
    log,
    templates,
    settings: email === undefined ? undefined : { ...email, serverName },
    transport: email === undefined ? undefined : smtpTransport(email),
  });
  return { templates, mailer };
}
