import type { DoctorReport, Reason, RemoteServer, StatusLine } from '../contract.ts';
import type { KeeperState } from '../lifecycle/keeper.ts';
import type { Certificate } from './disk.ts';
import type { ServerFacts } from './facts.ts';

/** All that the line rests on. Times are ms since the epoch. */
export interface Evidence {
  readonly now: number;
  readonly keeper: KeeperState;
  readonly isSetUp: boolean;
  readonly facts: ServerFacts | undefined;
  readonly certificate: Certificate | { readonly problem: string } | undefined;
  readonly freeBytes: number | undefined;
  /** Set while the database cannot be read. */
  readonly storageProblem: string | undefined;
  readonly catchingUpRooms: number;
  readonly servers: readonly RemoteServer[];
  readonly doctor: DoctorReport | undefined;
  readonly backups: BackupStanding | undefined;
  readonly config: ConfigStanding | undefined;
}

/** How it stands with the backups of the schedule. */
export interface BackupStanding {
  readonly failure: { readonly at: number; readonly error: string } | undefined;
  /** When the next one falls, or fell, due. */
  readonly dueAt: number | undefined;
}

/** The configuration as it lies there now, compared with what the homeserver was started with. */
export interface ConfigStanding {
  /** Something was changed that only counts after a restart. */
  readonly restartDue: boolean;
  /** What is wrong with it, should the server be started with it. */
  readonly problem: string | undefined;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
/** A certificate with less left should have been renewed by now: this, or a quarter of what a short one is made for. */
const TIME_TO_RENEW_MS = 14 * DAY_MS;
const SHARE_TO_RENEW = 1 / 4;
/** A look at the way here that is older says nothing of today, once the server has run long enough for another. */
const LOOK_IS_OLD_MS = 3 * DAY_MS;
const TIME_FOR_A_LOOK_MS = HOUR_MS;
/** A backup that is late by less may only have waited for the machine to wake up. */
const BACKUP_IS_LATE_MS = DAY_MS;
/** With less free, writes will soon fail; with less than twice that, it is worth a word. */
const NEARLY_FULL_BYTES = 500_000_000;
const GETTING_FULL_BYTES = 2_000_000_000;

/** What an observation makes of the line: nothing, for those that are only good to know. */
interface Observation extends Reason {
  readonly line?: 'unreachable' | 'needs-you' | 'catching-up';
}

/** One line of truth, and the reasons for it, the most important first. */
export function judge(evidence: Evidence): { readonly line: StatusLine; readonly reasons: Reason[] } {
  const { keeper, isSetUp, facts } = evidence;
  const seen = [...ofKeeper(keeper), ...ofStorage(evidence), ...ofDisk(evidence)];
  if (keeper.kind !== 'running') return { line: LINES[keeper.kind], reasons: seen.map(toReason) };
  if (!isSetUp) {
    const begin: Reason = {
      kind: 'setup',
      text: 'Nobody has an account here yet.',
      nextStep: 'Answer three questions, and this server is ready.',
      page: 'setup',
    };
    return { line: 'setup', reasons: [begin, ...seen.map(toReason)] };
  }
  seen.push(
    ...ofCertificate(evidence),
    ...ofConfig(evidence),
    ...ofBackups(evidence),
    ...ofDoctor(evidence),
    ...ofRooms(evidence),
    ...ofServers(evidence),
  );
  const worst = (['unreachable', 'needs-you', 'catching-up'] as const).find((line) =>
    seen.some((observation) => observation.line === line),
  );
  const well = facts?.federates === false ? 'network-only' : 'online';
  if (worst === undefined) seen.unshift(wellReason(well, evidence));
  const rank = (observation: Observation): number =>
    observation.line === undefined ? 1 : observation.line === worst ? -1 : 0;
  return { line: worst ?? well, reasons: seen.toSorted((a, b) => rank(a) - rank(b)).map(toReason) };
}

const LINES: Readonly<Record<Exclude<KeeperState['kind'], 'running'>, StatusLine>> = {
  starting: 'starting',
  stopped: 'starting',
  paused: 'paused',
  held: 'paused',
  failed: 'failed',
};

function toReason({ kind, text, nextStep, page }: Observation): Reason {
  return {
    kind,
    text,
    ...(nextStep === undefined ? {} : { nextStep }),
    ...(page === undefined ? {} : { page }),
  };
}

function ofKeeper(state: KeeperState): Observation[] {
  switch (state.kind) {
    case 'running':
      return [];
    case 'starting':
    case 'stopped':
      return [{ kind: 'starting', text: 'The server is starting.' }];
    case 'paused':
      return [
        {
          kind: 'paused',
          text: 'The server is paused: nobody can send or receive messages.',
          nextStep: 'Resume it when you want it back. What others send meanwhile arrives then.',
        },
      ];
    case 'held':
      return [{ kind: 'held', text: `The server waits: ${state.by}.`, nextStep: 'It goes on by itself afterwards.' }];
    case 'failed':
      return [ofFailure(state.message, state.error, state.retryAt)];
  }
}

function ofFailure(message: string, error: unknown, retryAt: number | undefined): Observation {
  const again = retryAt === undefined ? '' : ' Hearth tries again by itself in the meantime.';
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const storage = error instanceof Error && 'kind' in error ? error.kind : undefined;
  const known = typeof storage === 'string' ? STORAGE_STEPS[storage] : undefined;
  const system = typeof code === 'string' ? SYSTEM_STEPS[code] : undefined;
  if (error instanceof Error && error.name === 'ConfigError') {
    return {
      kind: 'configuration',
      text: `The configuration cannot be used:\n${message}`,
      nextStep: 'Correct the file at the line that is named, then start the server again.',
      page: 'settings',
    };
  }
  if (code === 'EADDRINUSE') {
    return {
      kind: 'port',
      text: `${message}.`,
      nextStep: `Close the other program, or choose another port in homeserver.yaml.${again}`,
      page: 'settings',
    };
  }
  if (known === undefined && system !== undefined) {
    return {
      kind: `system-${String(code)}`,
      text: `The server could not be started: ${message}`,
      nextStep: `${system}${again}`,
    };
  }
  return {
    kind: known === undefined ? 'start' : `storage-${String(storage)}`,
    text: `The server could not be started: ${message}`,
    nextStep: `${known?.step ?? 'The log has the details.'}${again}`,
    ...(known === undefined ? { page: 'logs' } : known.page === undefined ? {} : { page: known.page }),
  };
}

/** By the codes of the operating system's errors. */
const SYSTEM_STEPS: Readonly<Record<string, string>> = {
  EACCES:
    'Let the account that Hearth runs under read and write its data. If it is about a port below 1024, choose a higher one.',
  EPERM: 'Let the account that Hearth runs under read and write its data.',
  EROFS: 'The disk can only be read. Look whether it is healthy, and connected so that it can be written to.',
  ENOSPC: 'The disk is full. Free some space.',
  EDQUOT: 'The disk is full, as far as this account may fill it. Free some space.',
  EIO: 'The disk refuses to be read or written. Look whether it is connected and healthy.',
  ENOENT: 'Something that the configuration names is not there. Put it there, or correct homeserver.yaml.',
  EADDRNOTAVAIL:
    'Look whether this machine is in its network; if its address is another one now, correct bind_addresses in homeserver.yaml.',
  EMFILE: 'Too many files are open on this machine. Close other programs, or restart it.',
  ENFILE: 'Too many files are open on this machine. Close other programs, or restart it.',
};

/** By the kinds of the storage's errors. */
const STORAGE_STEPS: Readonly<Record<string, { readonly step: string; readonly page?: string }>> = {
  locked: { step: 'Another program, perhaps a second Hearth, uses these data. Stop it.' },
  corrupt: { step: 'The database is damaged. Restore the newest backup.', page: 'backups' },
  newer: { step: 'These data were written by a newer version of Hearth. Install that version.', page: 'about' },
  full: { step: 'The disk is full. Free some space.' },
  io: {
    step: 'The disk refuses to be read or written. Look whether it is connected and healthy, and whether Hearth may write there.',
  },
  foreign: {
    step: 'The server name in homeserver.yaml is not the one these data belong to. Put the old name back.',
  },
};

function ofStorage({ storageProblem }: Evidence): Observation[] {
  if (storageProblem === undefined) return [];
  const text = `The database cannot be read: ${storageProblem}`;
  const nextStep = 'Look whether the disk is full, connected and healthy, then start the server again.';
  return [{ kind: 'storage', line: 'needs-you', text, nextStep, page: 'backups' }];
}

function ofDisk({ freeBytes }: Evidence): Observation[] {
  if (freeBytes === undefined || freeBytes >= GETTING_FULL_BYTES) return [];
  const left = `${Math.round(freeBytes / 1_000_000)} MB`;
  const nextStep = 'Free some space, remove old media, or let fewer backups be kept.';
  return freeBytes < NEARLY_FULL_BYTES
    ? [{ kind: 'disk', line: 'needs-you', text: `The disk is nearly full: ${left} are left.`, nextStep, page: 'media' }]
    : [{ kind: 'disk', text: `The disk is filling up: ${left} are left.`, nextStep, page: 'media' }];
}

function ofCertificate({ certificate, now, facts }: Evidence): Observation[] {
  if (certificate === undefined) return [];
  if ('problem' in certificate) {
    const nextStep = 'Put the certificate there, or name another file in the settings.';
    return [{ kind: 'certificate', line: 'needs-you', text: certificate.problem, nextStep, page: 'settings' }];
  }
  const { issuedAt, expiresAt } = certificate;
  const days = Math.floor((expiresAt - now) / DAY_MS);
  const whole = issuedAt === undefined ? Infinity : expiresAt - issuedAt;
  if (expiresAt - now >= Math.min(TIME_TO_RENEW_MS, whole * SHARE_TO_RENEW)) return [];
  const nextStep = 'Renew it. Hearth takes the new files into use by itself within minutes.';
  if (certificate.expiresAt <= now) {
    return [
      {
        kind: 'certificate',
        line: facts?.federates === false ? 'needs-you' : 'unreachable',
        text: `The certificate for ${certificate.subject} has expired: clients and other servers refuse to connect.`,
        nextStep,
        page: 'reach',
      },
    ];
  }
  const left = days === 0 ? 'today' : days === 1 ? 'tomorrow' : `in ${days} days`;
  const text = `The certificate for ${certificate.subject} expires ${left}.`;
  return [{ kind: 'certificate', line: 'needs-you', text, nextStep, page: 'reach' }];
}

function ofDoctor(evidence: Evidence): Observation[] {
  const doctor = lookOf(evidence);
  const isHome = evidence.facts?.federates === false;
  if (doctor === undefined) {
    if (isHome) return [];
    // To be online is to be found; as long as nobody has looked, nobody knows.
    return [
      {
        kind: 'unchecked',
        line: 'needs-you',
        text: 'It runs. Whether others find it has not been checked yet, or not for days.',
        nextStep: 'Run the check of the way here.',
        page: 'reach',
      },
    ];
  }
  const finding = doctor.findings.find(({ verdict }) => verdict === doctor.verdict);
  if (doctor.verdict === 'bad') {
    // Other servers get there; it is people's apps that do not.
    const isAboutApps = doctor.findings.every(({ id, verdict }) => verdict !== 'bad' || id.startsWith('client-'));
    return [
      {
        kind: 'unreachable',
        line: isHome || isAboutApps ? 'needs-you' : 'unreachable',
        text: finding?.text ?? doctor.summary,
        nextStep: finding?.nextStep ?? 'Look at the last check, and run it again when you have changed something.',
        page: 'reach',
      },
    ];
  }
  if (doctor.verdict !== 'warning') return [];
  const nextStep = finding?.nextStep;
  return [{ kind: 'reach', text: doctor.summary, ...(nextStep === undefined ? {} : { nextStep }), page: 'reach' }];
}

/** The last look at the way here, unless it is about another name or from long ago. */
function lookOf({ doctor, facts, keeper, now }: Evidence): DoctorReport | undefined {
  if (doctor === undefined || doctor.serverName !== facts?.serverName || doctor.verdict === 'skipped') return undefined;
  const hasRunFor = keeper.kind === 'running' ? now - keeper.since : 0;
  const isOld = now - (doctor.endedAt ?? doctor.startedAt) > LOOK_IS_OLD_MS && hasRunFor > TIME_FOR_A_LOOK_MS;
  return isOld ? undefined : doctor;
}

function ofConfig({ config }: Evidence): Observation[] {
  if (config?.problem !== undefined) {
    return [
      {
        kind: 'configuration',
        line: 'needs-you',
        text: `The server runs, but could not be started again: its configuration has a mistake.\n${config.problem}`,
        nextStep: 'Correct the file at the line that is named, before the server is restarted.',
        page: 'settings',
      },
    ];
  }
  if (config?.restartDue !== true) return [];
  const text = 'Something was changed in the settings that takes effect only after a restart.';
  return [{ kind: 'restart', text, nextStep: 'Restart the server when it suits you.' }];
}

function ofBackups({ backups, now }: Evidence): Observation[] {
  if (backups?.failure !== undefined) {
    return [
      {
        kind: 'backup',
        line: 'needs-you',
        text: `The last backup of the schedule could not be made: ${sentence(backups.failure.error)}`,
        nextStep: 'Look at what keeps it from being made, and make one now to see that it works.',
        page: 'backups',
      },
    ];
  }
  if (backups?.dueAt === undefined || now - backups.dueAt < BACKUP_IS_LATE_MS) return [];
  const days = Math.floor((now - backups.dueAt) / DAY_MS);
  const since = days === 1 ? 'a day' : `${days} days`;
  const text = `The backup of the schedule is overdue by ${since}.`;
  return [{ kind: 'backup', line: 'needs-you', text, nextStep: 'Make one now.', page: 'backups' }];
}

function sentence(text: string): string {
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

function ofRooms({ catchingUpRooms: rooms }: Evidence): Observation[] {
  if (rooms === 0) return [];
  const text = rooms === 1 ? 'One room is catching up on messages.' : `${rooms} rooms are catching up on messages.`;
  return [{ kind: 'catching-up', line: 'catching-up', text, page: 'rooms' }];
}

function ofServers({ servers }: Evidence): Observation[] {
  const failing = servers.filter(({ state }) => state === 'failing');
  const waiting = failing.filter(({ queued }) => queued > 0);
  if (failing.length === 0) return [];
  if (failing.length > 2 && failing.length === servers.length) {
    const nextStep = 'Look whether this machine is online.';
    return [{ kind: 'offline', line: 'unreachable', text: 'No other server can be reached.', nextStep }];
  }
  const text =
    failing.length === 1
      ? `${failing[0]?.name ?? ''} does not answer at the moment.`
      : `${failing.length} servers do not answer at the moment.`;
  const nextStep = waiting.length === 0 ? undefined : 'Nothing to do: what waits is sent when they are back.';
  return [{ kind: 'servers', text, ...(nextStep === undefined ? {} : { nextStep }) }];
}

function wellReason(line: 'online' | 'network-only', evidence: Evidence): Observation {
  if (line === 'network-only') {
    return { kind: 'home', text: 'It runs for this home network and deals with no other servers, as you have chosen.' };
  }
  // What was not so good at that check is told besides, in its own words.
  return lookOf(evidence)?.verdict === 'good'
    ? { kind: 'well', text: 'It runs, and other servers found their way here at the last check.' }
    : { kind: 'well', text: 'It runs, and nothing was in the way of other servers at the last check.' };
}
