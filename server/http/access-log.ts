import type { Logger } from '../util/log.ts';

/** What is noted of a request once it is over. */
export interface FinishedRequest {
  readonly requestId: string;
  readonly method: string;
  /** The declared path of the route, which holds nobody's names; undefined where no route was found. */
  readonly template: string | undefined;
  /** Path and query as they came. */
  readonly url: string;
  readonly status: number;
  /** Milliseconds from the request's headers to the last byte of the reply, or to the client's leaving. */
  readonly ms: number;
  /** Bytes of the reply's body as sent; undefined where they were not counted. */
  readonly bytes: number | undefined;
  /** A user ID, or the server name of a federation request. */
  readonly requester: string | undefined;
  readonly ip: string;
  /** Where it came in. */
  readonly listener: string;
  /** Whether the client left before the reply was complete. */
  readonly aborted: boolean;
}

const LONGEST_PATH = 200;

/** A path without its query, which is where tokens stand, and not too long to be logged. */
export function loggablePath(url: string): string {
  const query = url.indexOf('?');
  const path = query === -1 ? url : url.slice(0, query);
  return path.length > LONGEST_PATH ? `${path.slice(0, LONGEST_PATH)}…` : path;
}

/** Writes one line for each request. What asks only whether we are alive goes to the debug level. */
export function accessLog(log: Logger): (request: FinishedRequest) => void {
  return ({ template, url, ms, ...rest }) => {
    const line = { ...rest, path: template ?? loggablePath(url), ms: Math.round(ms * 10) / 10 };
    if (template === '/health' || rest.method === 'OPTIONS') log.debug(line, 'request done');
    else log.info(line, 'request done');
  };
}
