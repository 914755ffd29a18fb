/** Mail and templates: what the rest of the server uses of them. */
import type { WriteTx } from '../storage/types.ts';

export { SafeHtml } from './safe-html.ts';

/** A template's variables; instances of `SafeHtml` in them are not escaped. */
export type TemplateVars = Readonly<Record<string, unknown>>;

/** The server's texts and pages, and whatever an administrator has put in their place. */
export interface Templates {
  /**
   * Renders the template of that file name (`password_reset.html`); in `.html` ones values are escaped. Throws
   * `TemplateError` if there is none, or if it fails.
   */
  render(name: string, vars: TemplateVars): string;
  has(name: string): boolean;
}

export interface Mail {
  /** One address. Checked: what could be read as more than one, or as a header, is refused. */
  readonly to: string;
  /** Without extension: `<template>.html` and `<template>.txt` are rendered. */
  readonly template: string;
  readonly subject: string;
  readonly vars: TemplateVars;
  /** What the application calls itself in this mail (`%(app)s`, `app_name`), if not what the configuration says. */
  readonly appName?: string;
  /** Lets mail programs offer a button (RFC 8058): takes a GET by people and a POST by programs. */
  readonly unsubscribeLink?: string;
}

/** The subjects an administrator can word. */
export type SubjectName =
  | 'message_from_person_in_room'
  | 'message_from_person'
  | 'messages_from_person'
  | 'messages_in_room'
  | 'messages_in_room_and_others'
  | 'messages_from_person_and_others'
  | 'invite_from_person_to_room'
  | 'invite_from_person'
  | 'invite_from_person_to_space'
  | 'password_reset'
  | 'email_validation'
  | 'email_already_in_use';

export interface Mailer {
  /** Whether this server sends mails at all. Where it does not, sending throws. */
  readonly isEnabled: boolean;
  /** What `%(app)s` stands for unless a mail says otherwise. */
  readonly appName: string;
  /**
   * Puts a mail into the queue on disk (in `tx`, if given): it survives a restart and is tried for days. Rendered at
   * once. Throws `MailError` for an address that is none, `TemplateError`.
   */
  send(mail: Mail, tx?: WriteTx): void;
  /**
   * Hands a mail to the mail server before it resolves, for where somebody waits for it. Nothing is kept. Rejects with
   * `MailError` if the mail server does not take it.
   */
  sendNow(mail: Mail): Promise<void>;
  /** A subject as configured, its placeholders filled: app and server_name by themselves, the rest from `values`. */
  subjectOf(name: SubjectName, values?: Readonly<Record<string, string>>, appName?: string): string;
}

/** A mail that cannot be sent. `permanent`: trying again would not help. */
export class MailError extends Error {
  override readonly name = 'MailError';
  readonly permanent: boolean;

  constructor(message: string, options: { readonly permanent: boolean; readonly cause?: unknown }) {
    super(message, { cause: options.cause });
    this.permanent = options.permanent;
  }
}

/** A template that is not there or does not work. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError';
}
