import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { DoctorReport } from '../contract.ts';

/** The last report of a kind, kept on disk. */
export class ReportFile {
  readonly #path: string;
  #last: DoctorReport | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#last = read(path);
  }

  find(): DoctorReport | undefined {
    return this.#last;
  }

  /** Throws the file system's errors. */
  put(report: DoctorReport): void {
    this.#last = report;
    const temporary = `${this.#path}.new`;
    writeFileSync(temporary, `${JSON.stringify(report)}\n`, { mode: 0o600 });
    renameSync(temporary, this.#path);
  }
}

/** A report that cannot be read is as good as none: the next look makes a new one. */
function read(file: string): DoctorReport | undefined {
  try {
    const report = JSON.parse(readFileSync(file, 'utf8')) as Partial<DoctorReport> | null;
    const { serverName, startedAt, verdict, summary, findings } = report ?? {};
    const isWhole =
      typeof serverName === 'string' &&
      typeof startedAt === 'number' &&
      verdict !== undefined &&
      typeof summary === 'string' &&
      Array.isArray(findings);
    return isWhole ? { ...report, serverName, startedAt, verdict, summary, findings } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || (error instanceof Error && 'code' in error)) return undefined;
    throw error;
  }
}
