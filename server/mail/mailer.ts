import type { Database, WriteTx } from '../storage/types.ts';
import type { Clock, Timer } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import { isMailAddress, oneLine, parseSender } from './addresses.ts';
import { type Mail, type Mailer, MailError, type SubjectName, type Templates } from './index.ts';
import { MailQueue, type QueuedLetter } from './queue.ts';
import type { Letter, Transport } from './transport.ts';

const DAY_MS = 86_400_000;
const GIVE_UP_MS = 5 * DAY_MS;
const FIRST_RETRY_MS = 60_000;
const LONGEST_RETRY_MS = 4 * 3_600_000;
/** So many mails that wait mean that nobody minds the mail server. */
const LARGEST_QUEUE = 10_000;

export interface MailSettings {
  readonly serverName: string;
  /** Who mails come from; `%(app)s` stands for the application's name. */
  readonly from: string;
  readonly appName: string;
  readonly subjects: Readonly<Record<string, string>>;
}

/** The mailer with its queue, for whoever starts and stops it. */
export interface RunningMailer extends Mailer {
  start(): void;
  stop(): Promise<void>;
  /** What waits is tried at once: the machine woke, or its network changed. */
  wake(): void;
}

export interface MailerNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly templates: Templates;
  /** Undefined where the configuration says nothing of mail. */
  readonly settings: MailSettings | undefined;
  readonly transport: Transport | undefined;
}

const SUBJECTS: Readonly<Record<SubjectName, string>> = {
  message_from_person_in_room: '%(person)s wrote in %(room)s',
  message_from_person: '%(person)s wrote to you',
  messages_from_person: 'New messages from %(person)s',
  messages_in_room: 'New messages in %(room)s',
  messages_in_room_and_others: 'New messages in %(room)s and other rooms',
  messages_from_person_and_others: 'New messages from %(person)s and others',
  invite_from_person_to_room: '%(person)s invites you to %(room)s',
  invite_from_person: '%(person)s wants to chat with you',
  invite_from_person_to_space: '%(person)s invites you to the space %(space)s',
  password_reset: 'A new password for your account on %(server_name)s',
  email_validation: 'Confirm your e-mail address for %(server_name)s',
  email_already_in_use: 'You have an account on %(server_name)s already',
};

/** Replaces `%(name)s`; names that are not among `values` stay. */
function fill(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/%\((\w+)\)s/g, (whole, name: string) =>
    Object.hasOwn(values, name) ? (values[name] ?? '') : whole,
  );
}

/** Sends mails, at once or by way of a queue on disk. */
export function createMailer({ db, clock, log, templates, settings, transport }: MailerNeeds): RunningMailer {
  const queue = new MailQueue(db);
  const appName = settings?.appName ?? '';
  let timer: Timer | undefined;
  let running: Promise<void> | undefined;
  /** What came up while mails were under way: a new one, or a reason to try all that wait. */
  let again: 'new' | 'all' | undefined;
  let started = false;
  let stopped = false;

  function compose(mail: Mail): Letter {
    if (settings === undefined) throw new MailError('this server sends no mail', { permanent: true });
    if (!isMailAddress(mail.to)) throw new MailError('that is no mail address', { permanent: true });
    const app = mail.appName ?? settings.appName;
    const vars = { app_name: app, server_name: settings.serverName, ...mail.vars };
    return {
      to: mail.to,
      from: parseSender(fill(settings.from, { app: oneLine(app).replace(/[<>"@,]/g, '') })),
      subject: oneLine(mail.subject),
      text: templates.render(`${mail.template}.txt`, vars),
      html: templates.render(`${mail.template}.html`, vars),
      unsubscribeLink: mail.unsubscribeLink,
    };
  }

  /** One mail; false if there is no use in trying the next one now. */
  async function attempt({ id, letter, queuedMs, attempts }: QueuedLetter): Promise<boolean> {
    try {
      await transport?.deliver(letter);
    } catch (error) {
      const permanent = error instanceof MailError && error.permanent;
      const reason = error instanceof Error ? error.message : String(error);
      const late = clock.now() - queuedMs >= GIVE_UP_MS;
      if (permanent || late) {
        log.warn({ mail: id, attempts: attempts + 1, reason }, 'a mail could not be delivered and is given up');
        db.write((tx) => queue.remove(tx, id));
        return permanent;
      }
      const wait = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempts, 20));
      log.info({ mail: id, attempts: attempts + 1, reason, wait }, 'a mail could not be delivered yet');
      db.write((tx) => queue.postpone(tx, id, clock.now() + wait));
      return false;
    }
    db.write((tx) => queue.remove(tx, id));
    await db.committed();
    return true;
  }

  async function drain(): Promise<void> {
    // What is about to be sent must be on disk, or a mail could go out whose reason was undone.
    await db.committed();
    for (let next = queue.findDue(clock.now()); next !== undefined && !stopped; next = queue.findDue(clock.now())) {
      if (!(await attempt(next))) break;
    }
  }

  function work(): void {
    if (!started || stopped || transport === undefined) return;
    if (running !== undefined) {
      again ??= 'new';
      return;
    }
    timer?.cancel();
    running = drain()
      .finally(() => {
        running = undefined;
        const next = again;
        again = undefined;
        if (next === 'all') retryAll();
        else if (next === 'new') work();
        else schedule();
      })
      .catch((error: unknown) => log.error({ err: error }, 'the queue of mails stands still'));
  }

  function retryAll(): void {
    if (!started || stopped || transport === undefined) return;
    // What is being tried may fail for the old reason yet, and be put off: it is asked again after that.
    if (running !== undefined) again = 'all';
    else {
      db.write((tx) => queue.hasten(tx, clock.now()));
      work();
    }
  }

  function schedule(): void {
    if (stopped) return;
    const due = queue.nextDueMs();
    if (due !== undefined) timer = clock.after(Math.max(1_000, due - clock.now()), work);
  }

  return {
    isEnabled: settings !== undefined,
    appName,
    send: (mail, outer) => {
      const letter = compose(mail);
      const add = (tx: WriteTx): void => {
        if (queue.size() >= LARGEST_QUEUE) {
          throw new MailError('too many mails wait for the mail server already', { permanent: false });
        }
        queue.add(tx, letter, clock.now());
        tx.onCommit(work);
      };
      if (outer === undefined) db.write(add);
      else add(outer);
    },
    sendNow: async (mail) => {
      const letter = compose(mail);
      await transport?.deliver(letter);
    },
    subjectOf: (name, values = {}, app = appName) =>
      fill(settings?.subjects[name] ?? SUBJECTS[name], { app, server_name: settings?.serverName ?? '', ...values }),
    start: () => {
      started = true;
      work();
    },
    stop: async () => {
      stopped = true;
      timer?.cancel();
      await running;
    },
    wake: retryAll,
  };
}
