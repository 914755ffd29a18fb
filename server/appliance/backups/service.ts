import { mkdirSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { forbidden, MatrixError } from '../../matrix/errors.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import type { Random } from '../../util/random.ts';
import type { Announcer } from '../announcer.ts';
import type { Backups as BackupsAnswer, BackupSchedule, RecoverySheet, RestoreResult, Started } from '../contract.ts';
import type { JobReport, Jobs } from '../jobs/jobs.ts';
import type { Keeper } from '../lifecycle/keeper.ts';
import { backupPath, type Listed, listBackups, removeBackup } from './catalogue.ts';
import type { Disk } from './disk.ts';
import type { KeyCost } from './format.ts';
import { lookAtFolder, mark, takeFolder } from './folder.ts';
import { backupName, estimateBytes, type MadeBackup, makeBackup } from './make.ts';
import type { BackupSource } from './port.ts';
import { openBackup } from './read.ts';
import { RecordFile, type SecretStore } from './records.ts';
import { checkNewPassphrase } from './passphrase.ts';
import { recoverySheet } from './recovery-sheet.ts';
import { explainDisk, refusal } from './refusal.ts';
import { type Adopt, restoreBackup } from './restore.ts';
import { type Outcome, ScheduleRunner } from './schedule-runner.ts';

export interface BackupsNeeds {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly announcer: Pick<Announcer, 'moved'>;
  readonly jobs: Pick<Jobs, 'start'>;
  readonly keeper: Pick<Keeper, 'find' | 'state' | 'whileHeld' | 'start'>;
  readonly dataDir: string;
  readonly secrets: SecretStore;
  readonly disk: Disk;
  /** What a backup is made of while the homeserver does not run. Throws where that cannot be read. */
  readonly openSource: () => Promise<BackupSource & { close(): void }>;
  readonly adopt: Adopt;
  readonly cost?: KeyCost | undefined;
}

/** Of the works on backups one runs at a time. */
const EXCLUDES = 'backups';
const PASSPHRASE = 'backup-passphrase';

/** Backups: on demand, on schedule, and back again. */
export class Backups {
  readonly #needs: BackupsNeeds;
  readonly #records: RecordFile;
  readonly #schedule: ScheduleRunner;

  constructor(needs: BackupsNeeds) {
    this.#needs = needs;
    this.#records = new RecordFile(needs.dataDir);
    this.#schedule = new ScheduleRunner({
      ...needs,
      records: this.#records,
      // Not while the homeserver is about to start, or something else is done to its data.
      canBegin: () => needs.keeper.state.kind === 'running' || needs.keeper.state.kind === 'paused',
      run: () => this.#runScheduled(),
    });
  }

  /** Where they are. */
  get directory(): string {
    const { directory } = this.#records.get().schedule;
    return directory === undefined ? this.#ownDirectory : resolve(directory);
  }

  get #ownDirectory(): string {
    return join(this.#needs.dataDir, 'backups');
  }

  /** How it stands with the schedule. */
  standing(): { readonly failure: BackupsAnswer['lastFailure']; readonly dueAt: number | undefined } {
    const { schedule, failure, dueAt } = this.#records.get();
    return { failure, dueAt: schedule.every === 'never' ? undefined : dueAt };
  }

  /** Follows the schedule from now on. */
  start(): void {
    this.#schedule.start();
  }

  stop(): void {
    this.#schedule.stop();
  }

  /** The machine slept: what fell due meanwhile is made up for. */
  wake(): void {
    this.#schedule.wake();
  }

  async list(): Promise<BackupsAnswer> {
    const { disk } = this.#needs;
    const { schedule, verified, failure } = this.#records.get();
    const { directory: _directory, ...plan } = schedule;
    const { directory } = this;
    const { nextAt } = this.#schedule;
    let listed: Listed[] = [];
    let freeBytes = 0;
    let problem: string | undefined;
    let isUnknown = false;
    try {
      await this.#findDirectory(await this.#withSource(({ serverName }) => serverName));
      listed = await listBackups(directory);
      freeBytes = await disk.freeBytes(directory);
    } catch (error) {
      const explained = explainDisk(error, `The folder ${directory} cannot be used`);
      if (!(explained instanceof MatrixError)) throw error;
      problem = explained.message;
      isUnknown = error instanceof UnknownFolder;
    }
    return {
      directory,
      schedule: {
        ...plan,
        directory,
        hasPassphrase: this.#needs.secrets.find(PASSPHRASE) !== undefined,
        ...(nextAt === undefined ? {} : { nextAt }),
      },
      backups: listed.map(({ header: _header, ...file }) => ({
        ...file,
        isVerified: verified[file.name] === file.bytes,
      })),
      freeBytes,
      estimateBytes: (await this.#withSource((source) => estimateBytes(source, schedule.media))) ?? 0,
      ...(failure === undefined ? {} : { lastFailure: failure }),
      ...(problem === undefined ? {} : { problem }),
      ...(isUnknown ? { isUnknownFolder: true } : {}),
    };
  }

  /** Changes the plan. Throws a refusal for a passphrase that is too short or missing, or a folder that cannot be used. */
  setSchedule({ passphrase, directory: wanted, isChosenAnew, ...plan }: BackupSchedule): void {
    const { secrets, announcer, random } = this.#needs;
    // Within the data it moves with them.
    const isOwn = wanted === undefined || wanted === this.#ownDirectory;
    const schedule = isOwn ? plan : { ...plan, directory: wanted };
    if (passphrase !== undefined) checkNewPassphrase(passphrase);
    if (schedule.every !== 'never' && passphrase === undefined && secrets.find(PASSPHRASE) === undefined) {
      throw refusal('Backups on schedule need a passphrase', { field: 'passphrase' });
    }
    // One that is chosen already may be on a disk that is not connected at the moment.
    if (!isOwn && (isChosenAnew === true || wanted !== this.directory)) takeFolder(wanted, random);
    if (passphrase !== undefined) secrets.put(PASSPHRASE, passphrase);
    this.#schedule.change(schedule);
    announcer.moved('backups');
  }

  /** Begins a backup. Throws a refusal where no passphrase is known, or one too short is given. */
  begin({ passphrase, media }: { readonly passphrase?: string; readonly media: boolean }): Started {
    if (passphrase !== undefined) checkNewPassphrase(passphrase);
    const known = passphrase ?? this.#needs.secrets.find(PASSPHRASE);
    if (known === undefined) throw refusal('A passphrase is needed', { field: 'passphrase' });
    const job = this.#needs.jobs.start({
      kind: 'backup',
      title: 'Making a backup',
      canCancel: true,
      excludes: EXCLUDES,
      run: (report) => this.#make(known, { media, scheduled: false }, report),
    });
    return { jobId: job.id };
  }

  async remove(name: string): Promise<void> {
    await removeBackup(this.directory, name);
    this.#forget(name);
    this.#needs.announcer.moved('backups');
  }

  /** Begins to read a backup whole. */
  verify(name: string, passphrase: string): Started {
    const path = backupPath(this.directory, name);
    const job = this.#needs.jobs.start({
      kind: 'verify',
      title: `Checking the backup ${name}`,
      canCancel: true,
      excludes: EXCLUDES,
      run: async (report) => {
        const { signal } = report;
        try {
          await using backup = await openBackup(path);
          const {
            files,
            bytes,
            made_at: madeAt,
            server_name: serverName,
          } = await backup.verify({
            passphrase,
            signal,
            progress: (share) => report.progress(share, 'Reading'),
          });
          await this.#noteVerified(name);
          return { files, bytes, madeAt, serverName };
        } catch (error) {
          if (!signal.aborted && !isPassphraseError(error)) this.#forget(name);
          throw error;
        } finally {
          this.#needs.announcer.moved('backups');
        }
      },
    });
    return { jobId: job.id };
  }

  /** Begins to put a backup in the place of what is here. Throws M_FORBIDDEN where that has people, unless `replace`. */
  restore({ path: given, passphrase, replace }: { path: string; passphrase: string; replace: boolean }): Started {
    // Windows copies paths with the quotes around them.
    const path = given.trim().replace(/^"(.*)"$/, '$1');
    const { keeper, jobs, dataDir, adopt, random, disk, announcer } = this.#needs;
    if (!isAbsolute(path)) throw refusal('The whole path of the file is needed', { field: 'path' });
    if (!replace) {
      const homeserver = keeper.find();
      if (homeserver === undefined) throw forbidden('What is here cannot be looked at; it is only replaced on request');
      if (homeserver.ports.accounts.hasPeople()) {
        throw forbidden('This server has people already; a backup takes its place only on request');
      }
    }
    const job = jobs.start({
      kind: 'restore',
      title: 'Restoring a backup',
      canCancel: true,
      excludes: EXCLUDES,
      run: async (report) => {
        const { kept, madeAt, serverName, hasMedia } = await restoreBackup({
          path,
          passphrase,
          dataDir,
          adopt,
          random,
          disk,
          signal: report.signal,
          progress: (share, step) => report.progress(share, step),
          whileHeld: (work) => keeper.whileHeld('A backup is being restored', work),
        });
        for (const topic of ['backups', 'status', 'setup', 'people', 'rooms', 'media', 'settings'] as const) {
          announcer.moved(topic);
        }
        // It was held because of this, and whoever restores wants it to run, also where it could not start before.
        await keeper.start();
        const isRunning = keeper.find() !== undefined;
        return {
          serverName,
          madeAt,
          ...(kept === undefined ? {} : { kept }),
          hasMedia,
          isRunning,
        } satisfies RestoreResult;
      },
    });
    return { jobId: job.id };
  }

  /** Throws a refusal where the signing key cannot be read. */
  async sheet(): Promise<RecoverySheet> {
    const { clock } = this.#needs;
    const hint = this.#records.get().schedule.passphraseHint;
    const sheet = await this.#withSource((source) => {
      const { keyId, line, file } = source.signingKey();
      return recoverySheet({
        serverName: source.serverName,
        signingKey: line,
        keyId,
        keyFile: file,
        madeAt: clock.now(),
        ...(hint === undefined || hint === '' ? {} : { passphraseHint: hint }),
      });
    });
    if (sheet === undefined) throw new MatrixError('M_UNKNOWN', 'The signing key cannot be read', { status: 503 });
    return sheet;
  }

  /** Rejects with what keeps the backup of the schedule from being made. */
  async #runScheduled(): Promise<Outcome> {
    const { jobs, secrets } = this.#needs;
    const passphrase = secrets.find(PASSPHRASE);
    if (passphrase === undefined) throw refusal('The passphrase for backups on schedule is not there any more');
    const { media } = this.#records.get().schedule;
    const { promise, resolve: settle, reject } = Promise.withResolvers<Outcome>();
    try {
      jobs.start({
        kind: 'backup',
        title: 'Making the backup of the schedule',
        canCancel: true,
        excludes: EXCLUDES,
        run: async (report) => {
          try {
            const made = await this.#make(passphrase, { media, scheduled: true }, report);
            settle('made');
            return made;
          } catch (error) {
            if (report.signal.aborted) settle('called-off');
            else reject(error);
            throw error;
          }
        },
      });
    } catch (error) {
      if (error instanceof MatrixError && error.status === 409) return 'busy';
      throw error;
    }
    return promise;
  }

  async #make(
    passphrase: string,
    { media, scheduled }: { readonly media: boolean; readonly scheduled: boolean },
    report: JobReport,
  ): Promise<MadeBackup> {
    const { clock, keeper, openSource, announcer } = this.#needs;
    const running = keeper.find()?.ports.backups;
    const opened = running === undefined ? await openSource() : undefined;
    const source = running ?? opened;
    if (source === undefined) throw refusal('There is nothing to back up');
    const { directory } = this;
    try {
      await this.#findDirectory(source.serverName);
      if (directory !== this.#ownDirectory) markOrExplain(directory);
      const now = clock.now();
      const made = await makeBackup({
        ...this.#needs,
        source,
        path: join(directory, backupName(source.serverName, now)),
        passphrase,
        media,
        scheduled,
        now,
        signal: report.signal,
        progress: (share, step) => report.progress(share, step),
      });
      await this.#noteVerified(made.name);
      if (scheduled) await this.#removeOld(source.serverName, made.name);
      return made;
    } finally {
      opened?.close();
      announcer.moved('backups');
    }
  }

  /** Only what the schedule of this very server has made; whatever else lies there belongs to somebody. */
  async #removeOld(serverName: string, newest: string): Promise<void> {
    const { clock, log } = this.#needs;
    const { directory } = this;
    const { keep } = this.#records.get().schedule;
    const now = clock.now();
    const older = (await listBackups(directory)).filter(
      ({ name, header }) => name !== newest && header?.scheduled === true && header.serverName === serverName,
    );
    // Those of a time that is yet to come were made before a clock that was wrong was set right.
    const [past, future] = [older.filter(({ madeAt }) => madeAt <= now), older.filter(({ madeAt }) => madeAt > now)];
    for (const { name } of [...past, ...future].slice(keep - 1)) {
      try {
        await removeBackup(directory, name);
        this.#forget(name);
      } catch (error) {
        // The new one is made all the same.
        log.error({ error: describe(error), name }, 'an old backup could not be removed');
      }
    }
  }

  async #noteVerified(name: string): Promise<void> {
    const listed = await listBackups(this.directory);
    const file = listed.find((each) => each.name === name);
    const known = new Set(listed.map((each) => each.name));
    const { verified, ...rest } = this.#records.get();
    const still = Object.entries(verified).filter(([each]) => known.has(each) && each !== name);
    const all = file === undefined ? still : [...still, [name, file.bytes] as const];
    this.#records.put({ ...rest, verified: Object.fromEntries(all) });
  }

  #forget(name: string): void {
    const { verified, ...rest } = this.#records.get();
    if (verified[name] === undefined) return;
    const { [name]: _gone, ...others } = verified;
    this.#records.put({ ...rest, verified: others });
  }

  /**
   * Throws a refusal where the folder of backups is not there. One that was chosen is not made anew, and one that nobody knows is
   * not used: most likely it is on a disk that is not connected, and the backup would go to the one that is.
   */
  async #findDirectory(serverName: string | undefined): Promise<void> {
    const { directory } = this;
    if (directory === this.#ownDirectory) {
      try {
        mkdirSync(directory, { recursive: true, mode: 0o700 });
      } catch (error) {
        throw explainDisk(error, `The folder ${directory} cannot be used`);
      }
      return;
    }
    const state = await lookAtFolder(directory, serverName);
    if (state === 'missing') {
      const advice = 'If it is on another disk, connect that; otherwise choose another folder.';
      throw refusal(`The folder ${directory} is not there. ${advice}`, { status: 507 });
    }
    if (state === 'unknown') {
      const why = 'nothing in it is of this server.';
      const advice = 'Connect the disk; if this is the folder that is meant, choose it anew.';
      throw new UnknownFolder(`The disk of the folder ${directory} is not connected: ${why} ${advice}`);
    }
  }

  /** Undefined where what a backup is made of cannot be read at the moment. */
  async #withSource<Result>(look: (source: BackupSource) => Result): Promise<Result | undefined> {
    const running = this.#needs.keeper.find()?.ports.backups;
    if (running !== undefined) return look(running);
    if (this.#needs.keeper.state.kind !== 'paused') return undefined;
    const opened = await this.#needs.openSource();
    try {
      return look(opened);
    } finally {
      opened.close();
    }
  }
}

/** In the place of the folder that was chosen there is one that nobody knows. */
class UnknownFolder extends MatrixError {
  constructor(message: string) {
    super('M_UNKNOWN', message, { status: 507 });
  }
}

/** For a folder that was chosen when none were marked. */
function markOrExplain(directory: string): void {
  try {
    mark(directory);
  } catch (error) {
    throw explainDisk(error, `The folder ${directory} cannot be used`);
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** It says nothing of the file. */
function isPassphraseError(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('The passphrase is wrong');
}
