import { Type } from '../../http/type.ts';
import { MatrixError, notFound } from '../../matrix/errors.ts';
import type { Clock } from '../../util/clock.ts';
import type { Random } from '../../util/random.ts';
import type { Announcer } from '../announcer.ts';
import type { Calls, CallSettings, DoctorReport, Finding } from '../contract.ts';
import { call, type ControlCall } from '../control/call.ts';
import { worst } from '../doctor/finding.ts';
import type { ReportFile } from '../doctor/report-file.ts';
import type { World } from '../doctor/world.ts';
import type { Jobs, JobReport } from '../jobs/jobs.ts';
import { makeCredentials, type TurnSettings } from './credentials.ts';
import { checkTurn } from './turn/check.ts';
import { parseTurnUri } from './turn/uri.ts';

/** The options of homeserver.yaml that calls are about. */
export interface CallOptions {
  /** As they are now. Throws a MatrixError. */
  read(): { readonly serverName: string; readonly turn: TurnSettings };
  /** By their names; undefined takes one out. Throws a MatrixError. */
  write(changes: Readonly<Record<string, string | boolean | readonly string[] | undefined>>): { needsRestart: boolean };
}

interface CallsNeeds {
  readonly clock: Clock;
  readonly random: Random;
  readonly world: World;
  readonly jobs: Pick<Jobs, 'start'>;
  readonly announcer: Pick<Announcer, 'moved'>;
  readonly options: CallOptions;
  readonly reports: ReportFile;
}

const MAX_URIS = 20;
const DAY_SECONDS = 86_400;

/** Calls between people: the TURN servers that relay them. */
export function callsCalls(needs: CallsNeeds): ControlCall[] {
  const { clock, jobs, options, announcer, reports } = needs;
  return [
    call('GET /calls', { handle: () => show(options.read(), reports.find()) }),
    call('PUT /calls', {
      body: Type.Object({
        uris: Type.Array(Type.String({ maxLength: 500 }), { maxItems: MAX_URIS }),
        sharedSecret: Type.Optional(Type.String({ maxLength: 1000 })),
        username: Type.Optional(Type.String({ maxLength: 500 })),
        password: Type.Optional(Type.String({ maxLength: 1000 })),
        lifetimeSeconds: Type.Integer({ minimum: 60, maximum: 30 * DAY_SECONDS }),
        allowGuests: Type.Boolean(),
      }),
      handle: ({ body }) => {
        const changed = options.write(changesOf(body, options.read().turn));
        announcer.moved('settings');
        return changed;
      },
    }),
    call('POST /calls/credentials', {
      handle: () => {
        const { turn } = options.read();
        const made = credentialsOf(turn, clock.now());
        return { ...made, ttlSeconds: Math.floor(turn.userLifetimeMs / 1_000), uris: [...turn.uris] };
      },
    }),
    call('POST /calls/test', {
      handle: () => {
        const { serverName, turn } = options.read();
        const credentials = credentialsOf(turn, clock.now());
        const job = jobs.start({
          kind: 'turn',
          title: 'Have something relayed by each TURN server',
          canCancel: true,
          excludes: 'turn',
          run: (report) => test({ serverName, turn, credentials }, needs, report),
        });
        return { jobId: job.id };
      },
    }),
  ];
}

function show({ turn }: { turn: TurnSettings }, last: DoctorReport | undefined): Calls {
  const { uris, sharedSecret, username, password, userLifetimeMs, guestsAllowed } = turn;
  return {
    settings: {
      uris: [...uris],
      ...(username === undefined ? {} : { username }),
      lifetimeSeconds: Math.floor(userLifetimeMs / 1_000),
      allowGuests: guestsAllowed,
      hasSharedSecret: sharedSecret !== undefined,
      hasPassword: password !== undefined,
    },
    ...(last === undefined ? {} : { last }),
  };
}

function refuse(field: string, message: string): MatrixError {
  return new MatrixError('M_INVALID_PARAM', message, { fields: { field } });
}

/** A secret or password left out stays; an empty one is taken out. Throws M_INVALID_PARAM with the field at fault. */
function changesOf(body: CallSettings, before: TurnSettings): Parameters<CallOptions['write']>[0] {
  const uris = body.uris.map((uri) => uri.trim()).filter((uri) => uri !== '');
  const wrong = uris.find((uri) => parseTurnUri(uri) === undefined);
  if (wrong !== undefined) {
    throw refuse('uris', `"${wrong}" is no address of a TURN server, such as turn:turn.example.com:3478?transport=udp`);
  }
  const { sharedSecret = before.sharedSecret ?? '', username = before.username ?? '' } = body;
  const { password = before.password ?? '' } = body;
  if (uris.length > 0 && sharedSecret === '' && (username === '' || password === '')) {
    throw refuse('sharedSecret', 'A TURN server needs either a shared secret, or a user name and a password');
  }
  return {
    turn_uris: uris.length === 0 ? undefined : uris,
    ...(body.sharedSecret === undefined
      ? {}
      : { turn_shared_secret: sharedSecret === '' ? undefined : sharedSecret, turn_shared_secret_path: undefined }),
    ...(body.username === undefined ? {} : { turn_username: username === '' ? undefined : username }),
    ...(body.password === undefined ? {} : { turn_password: password === '' ? undefined : password }),
    turn_user_lifetime: `${body.lifetimeSeconds}s`,
    turn_allow_guests: body.allowGuests,
  };
}

/** Throws M_NOT_FOUND where no TURN server is set. */
function credentialsOf(turn: TurnSettings, now: number): { username: string; password: string } {
  const made = turn.uris.length === 0 ? undefined : makeCredentials(turn, now);
  if (made === undefined) throw notFound('No TURN server is set, or none of its passwords');
  return made;
}

interface Trial {
  readonly serverName: string;
  readonly turn: TurnSettings;
  readonly credentials: { readonly username: string; readonly password: string };
}

async function test(
  { serverName, turn, credentials }: Trial,
  { world, random, announcer, reports }: CallsNeeds,
  job: JobReport,
): Promise<DoctorReport> {
  const startedAt = world.clock.now();
  const hasSharedSecret = turn.sharedSecret !== undefined;
  let done = 0;
  const findings = await Promise.all(
    turn.uris.map(async (uri) => {
      const finding = await checkTurn(uri, { world, random, credentials, hasSharedSecret, signal: job.signal });
      done += 1;
      job.progress(done / turn.uris.length, uri);
      return finding;
    }),
  );
  job.signal.throwIfAborted();
  const verdict = worst(findings);
  const report = { serverName, startedAt, endedAt: world.clock.now(), verdict, summary: sum(findings), findings };
  reports.put(report);
  announcer.moved('doctor');
  return report;
}

function sum(findings: readonly Finding[]): string {
  const working = findings.filter(({ verdict }) => verdict === 'good').length;
  if (working === findings.length) return 'Calls can be relayed.';
  if (working > 0)
    return `Calls can be relayed, but only ${working} of ${findings.length} addresses work as they should.`;
  const [first] = findings;
  return `Calls may fail where people cannot reach each other directly: ${first?.text ?? 'no TURN server was tried.'}`;
}
