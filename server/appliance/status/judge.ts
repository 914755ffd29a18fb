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
}

const DAY_MS = 86_400_000;
/** A certificate with fewer days left should have been renewed by now. */
const DAYS_TO_RENEW = 14;
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
  seen.push(...ofCertificate(evidence), ...ofDoctor(evidence), ...ofRooms(evidence), ...ofServers(evidence));
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
  return {
    kind: known === undefined ? 'start' : `storage-${String(storage)}`,
    text: `The server could not be started: ${message}`,
    nextStep: `${known ?? 'The log has the details.'}${again}`,
    page: known === undefined ? 'logs' : 'backups',
  };
}

/** By the kinds of the storage's errors. */
const STORAGE_STEPS: Readonly<Record<string, string>> = {
  locked: 'Another program, perhaps a second Hearth, uses these data. Stop it.',
  corrupt: 'The database is damaged. Restore the newest backup.',
  newer: 'These data were written by a newer version of Hearth. Install that version.',
  full: 'The disk is full. Free some space.',
  io: 'The disk refuses to be read or written. Look whether it is connected and healthy.',
  foreign: 'The server name in homeserver.yaml is not the one these data belong to. Put the old name back.',
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
  const days = Math.floor((certificate.expiresAt - now) / DAY_MS);
  if (days >= DAYS_TO_RENEW) return [];
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

function ofDoctor({ doctor, facts }: Evidence): Observation[] {
  if (facts?.federates === false || doctor === undefined || doctor.serverName !== facts?.serverName) return [];
  if (doctor.verdict === 'bad') {
    const worst = doctor.findings.find(({ verdict }) => verdict === 'bad');
    return [
      {
        kind: 'unreachable',
        line: 'unreachable',
        text: worst?.text ?? doctor.summary,
        nextStep: worst?.nextStep ?? 'Look at the last check, and run it again when you have changed something.',
        page: 'reach',
      },
    ];
  }
  return doctor.verdict === 'warning' ? [{ kind: 'reach', text: doctor.summary, page: 'reach' }] : [];
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

function wellReason(line: 'online' | 'network-only', { facts, doctor }: Evidence): Observation {
  if (line === 'network-only') {
    return { kind: 'home', text: 'It runs for this home network and deals with no other servers, as you have chosen.' };
  }
  return doctor?.verdict === 'good' && doctor.serverName === facts?.serverName
    ? { kind: 'well', text: 'It runs, and was found from outside at the last check.' }
    : {
        kind: 'well',
        text: 'It runs. Whether others find it has not been checked yet.',
        nextStep: 'Run the check of the way here.',
        page: 'reach',
      };
}
