/** What may stand beside a log sentence. Never tokens, keys, passwords or the content of messages. */
export type LogData = Readonly<Record<string, unknown>>;

/** A log line is a constant sentence and data: `log.info({ server, pdus: n }, 'transaction sent')`. */
export interface Logger {
  debug(data: LogData, sentence: string): void;
  info(data: LogData, sentence: string): void;
  warn(data: LogData, sentence: string): void;
  error(data: LogData, sentence: string): void;
  /** A logger whose lines all carry `data` too. */
  child(data: LogData): Logger;
}

/** A logger that keeps nothing, for tests and tools. */
export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLogger,
};
