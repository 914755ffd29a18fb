import { type FileHandle, open } from 'node:fs/promises';
import { invalidParam } from '../../matrix/errors.ts';
import type { LogLevel, LogLine, LogPage } from '../contract.ts';

export interface LogQuestion {
  readonly before?: string | undefined;
  readonly limit?: number | undefined;
  /** The least important lines wanted. */
  readonly level?: LogLevel | undefined;
  /** Part of a line, in any case. */
  readonly text?: string | undefined;
}

const CHUNK = 64 * 1024;
/** Bytes looked at for one page: a search for what is rare goes on with the next page. */
const MAX_READ = 4 * 1024 * 1024;
/** A longer line is no line of ours. */
const MAX_LINE = 256 * 1024;
const DEFAULT_LINES = 100;
const MOST_LINES = 500;
const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/**
 * A page of a log, read backwards from its end or from where a page before ended. Files that were put aside (`<file>.1`, `.2`
 * …) come after the newest one. Throws M_INVALID_PARAM for a place that is none.
 */
export async function readLogPage(file: string, question: LogQuestion): Promise<LogPage> {
  const limit = Math.min(Math.max(1, question.limit ?? DEFAULT_LINES), MOST_LINES);
  const lines: LogLine[] = [];
  let budget = MAX_READ;
  const start = question.before === undefined ? { number: 0, end: Infinity } : await findPlace(file, question.before);
  if (start === undefined) return { lines };
  let { end } = start;
  for (let { number } = start; ; number += 1) {
    await using opened = await LogFile.open(file, number);
    if (opened === undefined) return { lines };
    for await (const { text, at, bytes } of opened.backwards(Math.min(end, opened.size))) {
      budget -= bytes;
      const line = text === undefined ? undefined : matches(text, question);
      if (line !== undefined) lines.push(line);
      if (lines.length === limit || budget <= 0) {
        // Where this is the very first line of all, the next page will be empty, and say that there are no more.
        return { lines, before: `${opened.birth}-${at}` };
      }
    }
    end = Infinity;
  }
}

/** Where a page ended: files may have been put aside since. Undefined where that part of the log is gone. */
async function findPlace(file: string, before: string): Promise<{ number: number; end: number } | undefined> {
  const [, birth, offset] = /^(\d{1,20})-(\d{1,15})$/.exec(before) ?? [];
  if (birth === undefined || offset === undefined) throw invalidParam('This is no place in the log');
  for (let number = 0; ; number += 1) {
    await using opened = await LogFile.open(file, number);
    if (opened === undefined) return undefined;
    if (opened.birth === birth) return { number, end: Number(offset) };
  }
}

/** One file of the log. */
class LogFile implements AsyncDisposable {
  readonly #handle: FileHandle;
  readonly size: number;
  /** Stays the same when the file is put aside under another name. */
  readonly birth: string;

  private constructor(handle: FileHandle, size: number, birth: string) {
    this.#handle = handle;
    this.size = size;
    this.birth = birth;
  }

  /** The newest is 0. Undefined where there are not so many. */
  static async open(file: string, number: number): Promise<LogFile | undefined> {
    try {
      const handle = await open(number === 0 ? file : `${file}.${number}`, 'r');
      const { size, ino } = await handle.stat({ bigint: true });
      return new LogFile(handle, Number(size), String(ino));
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /**
   * Its lines before `end`, the last first, with where each begins and what it took to read. Instead of what is too long to
   * be one, pieces without a text.
   */
  async *backwards(end: number): AsyncGenerator<{ text: string | undefined; at: number; bytes: number }> {
    /** What was read and not given yet: the beginning of it may be the rest of a line. */
    let rest: Buffer = Buffer.alloc(0);
    let position = end;
    while (position > 0) {
      const length = Math.min(CHUNK, position);
      const { buffer, bytesRead } = await this.#handle.read(Buffer.alloc(length), 0, length, position - length);
      // It was made shorter meanwhile.
      if (bytesRead < length) return;
      position -= length;
      rest = Buffer.concat([buffer, rest]);
      for (let newline = rest.lastIndexOf(10); newline !== -1; newline = rest.lastIndexOf(10)) {
        const bytes = rest.length - newline;
        const text = rest.subarray(newline + 1).toString();
        const at = position + newline + 1;
        rest = rest.subarray(0, newline);
        if (text !== '') yield { text, at, bytes };
      }
      if (rest.length > MAX_LINE) {
        const bytes = rest.length;
        rest = Buffer.alloc(0);
        // Disks that lost their power may have left a gap of any size.
        yield { text: undefined, at: position, bytes };
      }
    }
    if (rest.length > 0) yield { text: rest.toString(), at: 0, bytes: rest.length };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

function matches(text: string, { level = 'debug', text: wanted = '' }: LogQuestion): LogLine | undefined {
  // Before it is parsed: most lines do not hold what is looked for.
  if (wanted !== '' && !text.toLowerCase().includes(wanted.toLowerCase())) return undefined;
  const line = parseLine(text);
  return line !== undefined && RANK[line.level] >= RANK[level] ? line : undefined;
}

function parseLine(text: string): LogLine | undefined {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    // Cut off by a crash, or written by something else.
    return { at: 0, level: 'info', text, data: {} };
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) return undefined;
  const { time, level, msg, ...data } = content as Record<string, unknown>;
  const at = typeof time === 'string' ? Date.parse(time) : Number(time);
  return {
    at: Number.isNaN(at) ? 0 : at,
    level: typeof level === 'string' && Object.hasOwn(RANK, level) ? (level as LogLevel) : 'info',
    text: typeof msg === 'string' ? msg : '',
    data,
  };
}
