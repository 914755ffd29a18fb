import type { Readable } from 'node:stream';
import { FederationError } from '../../../federation/errors.ts';
import { OutboundError } from '../../../federation/outbound/outbound-error.ts';
import { federationPath } from '../../../federation/path.ts';
import type { FederationRequest, FederationResponse } from '../../../federation/types.ts';
import { limitExceeded, MatrixError, notFound } from '../../../matrix/errors.ts';
import type { ServerName } from '../../../matrix/identifiers.ts';
import type { Clock, Timer } from '../../../util/clock.ts';
import { Gate } from '../../../util/gate.ts';
import type { Logger } from '../../../util/log.ts';
import { isKept, type KeptMedium, type MediaStore } from '../store/media.ts';
import { readContentType, readFileName } from './content-headers.ts';
import type { MediaFiles } from './media-files.ts';
import { type MediaAddress, mediaUri } from './media-uri.ts';
import { MULTIPART_OVERHEAD_BYTES, MultipartError, readMultipart } from './multipart.ts';
import type { ContentSettings, RemoteNeeds } from './needs.ts';

export interface RemoteMediaNeeds {
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: ContentSettings;
  readonly media: MediaStore;
  readonly files: MediaFiles;
  readonly remote: RemoteNeeds;
  /** Told how much has come in. */
  readonly onKept: (bytes: number) => void;
}

/** How something is fetched. */
export interface FetchOptions {
  /** How long the other server may wait for an upload that was announced, ms. */
  readonly timeoutMs: number;
  /** Counts bytes against the limit of whoever asks. Throws M_LIMIT_EXCEEDED. */
  readonly charge: (bytes: number) => void;
}

/** Content on its way from another server. */
interface Incoming {
  readonly content: AsyncIterable<Buffer>;
  /** The stream beneath it, to let go of. */
  readonly body: Readable;
  readonly type: string | undefined;
  readonly disposition: string | undefined;
  readonly declaredBytes: number | undefined;
}

/** For the beginning of an answer, beyond what the other server may wait itself; and for all of it, ms. */
const HEAD_TIMEOUT_MS = 30_000;
const WHOLE_TIMEOUT_MS = 15 * 60_000;
/** At a time, of one server: other requests to it want connections too. And of all servers. */
const PER_SERVER = 3;
const AT_ONCE = 12;
/** Under way or waiting; more are refused. */
const MAX_FLIGHTS = 300;

/** Fetches the media of other servers and keeps them. What several want at once is fetched once. */
export class RemoteMedia {
  readonly #needs: RemoteMediaNeeds;
  readonly #flights = new Map<string, Promise<KeptMedium>>();
  readonly #lines = new Map<ServerName, { readonly gate: Gate; users: number }>();
  readonly #all = new Gate(AT_ONCE);
  readonly #stopping = new AbortController();

  constructor(needs: RemoteMediaNeeds) {
    this.#needs = needs;
  }

  /**
   * Fetches a medium that is not here. Throws M_NOT_FOUND, M_NOT_YET_UPLOADED (504), M_TOO_LARGE (502), M_LIMIT_EXCEEDED,
   * M_UNKNOWN with 502 or 504.
   */
  fetch(address: MediaAddress, options: FetchOptions): Promise<KeptMedium> {
    const key = mediaUri(address);
    const known = this.#flights.get(key);
    if (known !== undefined) return known;
    if (this.#flights.size >= MAX_FLIGHTS) throw limitExceeded(5_000);
    const flight = this.#inLine(address.origin, () => this.#fetch(address, options)).finally(() => {
      this.#flights.delete(key);
    });
    this.#flights.set(key, flight);
    return flight;
  }

  /** Breaks off what is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled(this.#flights.values());
  }

  async #inLine<Result>(origin: ServerName, work: () => Promise<Result>): Promise<Result> {
    const line = this.#lines.get(origin) ?? { gate: new Gate(PER_SERVER), users: 0 };
    this.#lines.set(origin, line);
    line.users += 1;
    try {
      return await line.gate.run(() => this.#all.run(work));
    } finally {
      line.users -= 1;
      if (line.users === 0) this.#lines.delete(origin);
    }
  }

  async #fetch(address: MediaAddress, options: FetchOptions): Promise<KeptMedium> {
    const { clock, log, settings, media, files, onKept } = this.#needs;
    let incoming: Incoming | undefined;
    try {
      incoming = await this.#open(address, options);
      const { content, type, disposition } = incoming;
      const counted = chargeFor(content, incoming.declaredBytes, options.charge);
      const arrived = await files.receive(counted, settings.maxUploadBytes, tooLargeElsewhere);
      const { file, bytes } = arrived;
      await files.keep(arrived, (tx) =>
        media.insert(tx, {
          ...address,
          isLocal: false,
          file,
          bytes,
          type: readContentType(type),
          name: readFileName(disposition),
          uploader: undefined,
          now: clock.now(),
          needsToken: settings.authenticatedOnly,
        }),
      );
      onKept(bytes);
    } catch (error) {
      const refusal = refusalOf(error);
      log.debug({ server: address.origin, reason: describe(error) }, 'media of another server could not be fetched');
      throw refusal;
    } finally {
      incoming?.body.destroy();
    }
    const kept = media.find(address.origin, address.mediaId);
    if (kept === undefined || !isKept(kept)) throw notFound('This media is not there any more');
    return kept;
  }

  /** Spec: server-server API, "Content Repository": the old way is tried where the other server does not know the new one. */
  async #open(address: MediaAddress, { timeoutMs }: FetchOptions): Promise<Incoming> {
    const { origin, mediaId } = address;
    const { settings, remote } = this.#needs;
    const headMs = timeoutMs + HEAD_TIMEOUT_MS;
    const ask = (path: string, query: FederationRequest['query'] = {}): Promise<FederationResponse> =>
      this.#beginning(headMs, (signal) =>
        remote.client.open({
          destination: origin,
          method: 'GET',
          path,
          query: { ...query, timeout_ms: timeoutMs },
          timeoutMs: WHOLE_TIMEOUT_MS,
          maxBytes: settings.maxUploadBytes + MULTIPART_OVERHEAD_BYTES,
          signal,
        }),
      );
    let answer: FederationResponse;
    try {
      answer = await ask(federationPath('/v1/media/download', mediaId));
    } catch (error) {
      if (!isUnknownThere(error)) throw error;
      const old = await ask(`/_matrix/media/v3/download/${encodeURIComponent(origin)}/${encodeURIComponent(mediaId)}`, {
        allow_remote: false,
      });
      return plainContent(old);
    }
    return this.#readAnswer(answer, headMs);
  }

  async #readAnswer({ headers, body }: FederationResponse, headMs: number): Promise<Incoming> {
    try {
      const part = await readMultipart(body, headers['content-type']);
      const { location } = part.headers;
      if (location === undefined) {
        return {
          content: part.content,
          body,
          type: part.headers['content-type'],
          disposition: part.headers['content-disposition'],
          declaredBytes: lengthOf(headers),
        };
      }
      body.destroy();
      return await this.#follow(location, headMs);
    } catch (error) {
      body.destroy();
      throw error;
    }
  }

  /** Where the other server says that the content is. Nobody is told on whose behalf. */
  async #follow(location: string, headMs: number): Promise<Incoming> {
    const { settings, remote } = this.#needs;
    const answer = await this.#beginning(headMs, (signal) =>
      remote.http.open(location, { timeoutMs: WHOLE_TIMEOUT_MS, maxBytes: settings.maxUploadBytes, signal }),
    );
    if (answer.status === 200) return plainContent(answer);
    answer.body.destroy();
    throw new MultipartError(`the address of the content answers with HTTP ${answer.status}`);
  }

  /** Waits no longer than `ms` for an answer to begin, and breaks it off when the server stops. */
  async #beginning<Answer>(ms: number, ask: (signal: AbortSignal) => Promise<Answer>): Promise<Answer> {
    const tooLate = new AbortController();
    const timer: Timer = this.#needs.clock.after(ms, () => tooLate.abort());
    try {
      return await ask(AbortSignal.any([this.#stopping.signal, tooLate.signal]));
    } catch (error) {
      if (tooLate.signal.aborted) throw unavailable(504, 'The other server took too long to answer');
      throw error;
    } finally {
      timer.cancel();
    }
  }
}

function plainContent({ headers, body }: Pick<FederationResponse, 'headers' | 'body'>): Incoming {
  return {
    content: body,
    body,
    type: headers['content-type'],
    disposition: headers['content-disposition'],
    declaredBytes: lengthOf(headers),
  };
}

function lengthOf(headers: FederationResponse['headers']): number | undefined {
  const length = headers['content-length'];
  return length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
}

/** Counts all at the beginning where it is known how much will come, or else as it comes. */
async function* chargeFor(
  content: AsyncIterable<Buffer>,
  declaredBytes: number | undefined,
  charge: (bytes: number) => void,
): AsyncGenerator<Buffer, void, undefined> {
  if (declaredBytes !== undefined) charge(declaredBytes);
  for await (const chunk of content) {
    if (declaredBytes === undefined) charge(chunk.length);
    yield chunk;
  }
}

function isUnknownThere(error: unknown): boolean {
  if (!(error instanceof FederationError) || error.kind !== 'refused') return false;
  // Some that know nothing of it do not even answer with JSON.
  if (error.status === 404 && error.errcode === undefined) return true;
  return error.errcode === 'M_UNRECOGNIZED';
}

function unavailable(status: 502 | 504, message: string): MatrixError {
  return new MatrixError('M_UNKNOWN', message, { status });
}

function tooLargeElsewhere(): MatrixError {
  return new MatrixError('M_TOO_LARGE', 'This media of another server is too large', { status: 502 });
}

/** What a client is told of a failure. What is our own fault stays what it is. */
function refusalOf(error: unknown): unknown {
  if (error instanceof MultipartError) return unavailable(502, 'The other server gave no usable answer');
  if (error instanceof OutboundError) {
    if (error.kind === 'too-large') return tooLargeElsewhere();
    if (error.kind === 'timeout' || error.kind === 'too-slow') {
      return unavailable(504, 'The other server took too long to answer');
    }
    return unavailable(502, 'The content could not be fetched from the other server');
  }
  if (!(error instanceof FederationError)) return error;
  if (error.kind !== 'refused') {
    const { cause } = error;
    return cause instanceof OutboundError && cause.kind !== 'aborted'
      ? refusalOf(cause)
      : unavailable(502, 'The other server cannot be reached');
  }
  if (error.errcode === 'M_NOT_YET_UPLOADED') {
    return new MatrixError('M_NOT_YET_UPLOADED', 'This media has not been uploaded yet');
  }
  if (error.errcode === 'M_TOO_LARGE') return tooLargeElsewhere();
  if (error.status === 404) return notFound('The other server has no such media');
  return unavailable(error.status === 504 ? 504 : 502, 'The other server refuses to give this media');
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
