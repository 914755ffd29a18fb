import { isServerName } from '../../matrix/identifiers.ts';
import type { Announcer } from '../announcer.ts';
import type { DoctorReport, Job } from '../contract.ts';
import type { JobReport, Jobs } from '../jobs/jobs.ts';
import { examine } from './examine.ts';
import { worst } from './finding.ts';
import type { OwnServer } from './port.ts';
import type { ReportFile } from './report-file.ts';
import type { World } from './world.ts';

export interface DoctorParts {
  readonly world: World;
  readonly jobs: Pick<Jobs, 'start'>;
  readonly announcer: Pick<Announcer, 'moved'>;
  /** Our own server as it is configured now. Throws a MatrixError. */
  readonly own: () => OwnServer;
  /** Where the last report of our own server is kept. */
  readonly reports: ReportFile;
}

/** Looks at servers, and remembers how our own was. */
export class Doctor {
  readonly #parts: DoctorParts;
  #latest: DoctorReport | undefined;

  constructor(parts: DoctorParts) {
    this.#parts = parts;
  }

  /** The last report of our own server under the name it has; undefined if there is none. */
  last(serverName: string): DoctorReport | undefined {
    const last = this.#parts.reports.find();
    return last?.serverName === serverName ? last : undefined;
  }

  /** The look, at any server, that is under way or was last since the start; undefined if there was none. */
  get latest(): DoctorReport | undefined {
    return this.#latest;
  }

  /** Begins to look at `serverName`, or our own server. Throws a MatrixError, M_UNKNOWN (409) while another look is under way. */
  start(serverName?: string): Job {
    const { jobs } = this.#parts;
    const own = this.#parts.own();
    const name = (serverName ?? own.serverName).trim();
    return jobs.start({
      kind: 'doctor',
      title: `Check whether ${isServerName(name) ? name : 'a server'} can be reached`,
      canCancel: true,
      excludes: 'doctor',
      run: (report) => this.#look(name, own, report),
    });
  }

  /** Looks at our own server without anybody having asked for it, and keeps what it finds. Throws as `start`. */
  async recheck(signal: AbortSignal): Promise<DoctorReport> {
    const own = this.#parts.own();
    return this.#look(own.serverName, own, { signal, progress: () => undefined });
  }

  async #look(name: string, own: OwnServer, job: JobReport): Promise<DoctorReport> {
    const { world, announcer, reports } = this.#parts;
    const before = this.#latest;
    const startedAt = world.clock.now();
    const show = (report: DoctorReport | undefined): void => {
      this.#latest = report;
      announcer.moved('doctor');
    };
    try {
      const report = await examine(name, {
        world,
        own,
        signal: job.signal,
        progress: (done, step) => job.progress(done, step),
        found: (findings) =>
          show({ serverName: name, startedAt, verdict: worst(findings), summary: '', findings: [...findings] }),
      });
      show(report);
      if (name === own.serverName) reports.put(report);
      return report;
    } catch (error) {
      // What was found up to then is no report. Where only keeping it failed, it is one.
      if (this.#latest?.endedAt === undefined) show(before);
      throw error;
    }
  }
}
