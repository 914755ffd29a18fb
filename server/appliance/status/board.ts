import { StorageError } from '../../storage/storage-error.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import type { Announcer } from '../announcer.ts';
import type { DoctorReport, History, RemoteServer, Status } from '../contract.ts';
import type { Keeper } from '../lifecycle/keeper.ts';
import { databaseBytes, directoryBytes, freeBytesAt, readCertificate } from './disk.ts';
import type { ServerFacts } from './facts.ts';
import { type BackupStanding, type ConfigStanding, judge } from './judge.ts';
import type { StatusPort } from './port.ts';

interface BoardNeeds {
  readonly clock: Clock;
  readonly announcer: Pick<Announcer, 'isHeard' | 'moved'>;
  readonly keeper: Pick<Keeper, 'state' | 'get'>;
  /** Of the configuration that was last read well; undefined before there was one. */
  readonly facts: () => ServerFacts | undefined;
  readonly isSetUp: () => boolean;
  /** What was last found out about the way here from outside. */
  readonly doctor: () => DoctorReport | undefined;
  readonly version: string;
  readonly dataDir: string;
  readonly backups: {
    readonly directory: string;
    readonly standing: () => BackupStanding;
    readonly isBackup: (fileName: string) => boolean;
  };
  /** How the configuration stands that lies there now. */
  readonly config: () => ConfigStanding;
  /** Bytes free on the disk that holds a path. */
  readonly freeBytes?: (path: string) => Promise<number | undefined>;
}

/** How often it is looked whether something has moved, while somebody looks on. */
const LOOK_EVERY_MS = 10_000;
/** How long the size of media and backups is taken for the same. */
const SIZES_KEPT_MS = 60_000;
const MOST_SERVERS_SHOWN = 100;
const NO_MEDIA = { local: 0, remote: 0 };

/** The state of everything, put together when it is asked for; announces when it has changed. */
export class StatusBoard {
  readonly #needs: BoardNeeds;
  readonly #freeBytes: (path: string) => Promise<number | undefined>;
  #sizes:
    | { readonly at: number; readonly of: object; readonly media: typeof NO_MEDIA; readonly backups: number }
    | undefined;
  #timer: Timer | undefined;
  #last: string | undefined;
  #lastMarks: { readonly people: string; readonly rooms: string } | undefined;

  constructor(needs: BoardNeeds) {
    this.#needs = needs;
    this.#freeBytes = needs.freeBytes ?? freeBytesAt;
  }

  async read(): Promise<Status> {
    const { clock, keeper, version, dataDir } = this.#needs;
    const facts = this.#needs.facts();
    const { state } = keeper;
    const port = state.kind === 'running' ? state.homeserver.ports.status : undefined;
    const [certificate, database, sizes, free] = await Promise.all([
      facts?.certificateFile === undefined ? undefined : readCertificate(facts.certificateFile),
      facts === undefined ? 0 : databaseBytes(facts.databaseFile),
      this.#readSizes(state, port),
      this.#freeBytes(dataDir),
    ]);
    // Asked for at once, and only now: while files were looked at, the homeserver may have stopped.
    const running = this.#needs.keeper.state;
    const homeserver = running.kind === 'running' ? running.homeserver : undefined;
    const now = clock.now();
    const { federation, counts, problem } = readFigures(homeserver?.ports.status, startOfDay(now));
    const config = running.kind === 'running' ? this.#needs.config() : undefined;
    const { line, reasons } = judge({
      now,
      keeper: running,
      isSetUp: this.#needs.isSetUp(),
      facts,
      certificate,
      freeBytes: free,
      storageProblem: problem,
      catchingUpRooms: federation.catchingUpRooms,
      servers: federation.servers,
      doctor: this.#needs.doctor(),
      backups: this.#needs.backups.standing(),
      config,
    });
    const serverName = homeserver?.serverName ?? facts?.serverName;
    return {
      line,
      reasons,
      ...(serverName === undefined ? {} : { serverName }),
      ...(homeserver === undefined ? {} : { clientUrl: homeserver.clientUrl }),
      ...(running.kind === 'running' ? { startedAt: running.since } : {}),
      version,
      counts,
      memory: { residentBytes: process.memoryUsage.rss() },
      disk: {
        databaseBytes: database,
        localMediaBytes: sizes.media.local,
        remoteMediaBytes: sizes.media.remote,
        backupBytes: sizes.backups,
        freeBytes: free ?? 0,
      },
      ...(certificate === undefined || 'problem' in certificate
        ? {}
        : { certificate: { subject: certificate.subject, expiresAt: certificate.expiresAt } }),
      restartDue: config?.restartDue === true,
      federation: {
        servers: federation.servers.toSorted(byInterest).slice(0, MOST_SERVERS_SHOWN),
        queued: federation.queued,
        failing: federation.servers.filter((server) => server.state === 'failing').length,
        catchingUpRooms: federation.catchingUpRooms,
      },
    };
  }

  /** Throws M_UNKNOWN (503) while the homeserver does not run. */
  history(hours: number): History {
    return this.#needs.keeper.get().ports.status.activity.history(hours);
  }

  /** Looks from time to time whether something has moved. Whoever starts it stops it. */
  start(): void {
    const { clock, announcer } = this.#needs;
    this.#timer = clock.after(LOOK_EVERY_MS, () => {
      const go = announcer.isHeard ? this.#look() : Promise.resolve();
      void go.finally(() => {
        if (this.#timer !== undefined) this.start();
      });
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  async #look(): Promise<void> {
    const status = await this.read();
    // What always moves a little is no news.
    const told = JSON.stringify({
      ...status,
      memory: undefined,
      disk: Object.values({ ...status.disk, freeBytes: 0 }).map((bytes) => Math.round(bytes / 2 ** 20)),
    });
    if (this.#last !== undefined && told !== this.#last) this.#needs.announcer.moved('status');
    this.#last = told;
    this.#lookAtMarks(status);
  }

  /** What people do by their apps, those who look on at these pages are told here. */
  #lookAtMarks({ counts: { people, devices } }: Status): void {
    const { keeper, announcer } = this.#needs;
    const { state } = keeper;
    if (state.kind !== 'running') return;
    const { value: invites, problem } = withStorage(() => state.homeserver.ports.rooms.listStrangerInvites(), []);
    if (problem !== undefined) return;
    const before = this.#lastMarks;
    const marks = {
      people: `${people} ${devices}`,
      rooms: JSON.stringify(invites.map(({ userId, roomId, at }) => [userId, roomId, at])),
    };
    this.#lastMarks = marks;
    if (before === undefined) return;
    for (const topic of ['people', 'rooms'] as const) if (marks[topic] !== before[topic]) announcer.moved(topic);
  }

  async #readSizes(
    of: object,
    port: StatusPort | undefined,
  ): Promise<{ readonly media: typeof NO_MEDIA; readonly backups: number }> {
    const now = this.#needs.clock.monotonic();
    const kept = this.#sizes;
    if (kept !== undefined && kept.of === of && now - kept.at < SIZES_KEPT_MS) return kept;
    const media = port === undefined ? NO_MEDIA : withStorage(() => port.mediaBytes(), NO_MEDIA).value;
    const { directory, isBackup } = this.#needs.backups;
    const backups = await directoryBytes(directory, isBackup);
    this.#sizes = { at: now, of, media, backups };
    return this.#sizes;
  }
}

/** What `read` gives; while the storage fails, `fallback` and what is wrong with it. */
function withStorage<Value>(read: () => Value, fallback: Value): { readonly value: Value; readonly problem?: string } {
  try {
    return { value: read() };
  } catch (error) {
    if (error instanceof StorageError) return { value: fallback, problem: error.message };
    throw error;
  }
}

const NO_COUNTS: Status['counts'] = { people: 0, devices: 0, rooms: 0, messagesToday: 0 };
const NO_FEDERATION: ReturnType<StatusPort['federation']> = { servers: [], queued: 0, catchingUpRooms: 0 };

function readFigures(port: StatusPort | undefined, today: number) {
  if (port === undefined) return { counts: NO_COUNTS, federation: NO_FEDERATION, problem: undefined };
  const nothing = { counts: NO_COUNTS, federation: NO_FEDERATION };
  const { value, problem } = withStorage(
    () => ({
      counts: { ...port.counts(), messagesToday: port.activity.messagesSince(today) },
      federation: port.federation(),
    }),
    nothing,
  );
  return { ...value, problem };
}

/** Of the day on this machine's calendar. */
function startOfDay(now: number): number {
  return new Date(now).setHours(0, 0, 0, 0);
}

const RANK: Readonly<Record<RemoteServer['state'], number>> = { failing: 0, waiting: 1, well: 2 };

function byInterest(a: RemoteServer, b: RemoteServer): number {
  return (
    RANK[a.state] - RANK[b.state] ||
    b.queued - a.queued ||
    (b.lastContactAt ?? 0) - (a.lastContactAt ?? 0) ||
    a.name.localeCompare(b.name)
  );
}
