import { setImmediate as nextTurn } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { Requester } from '../../../http/route.ts';
import { limitExceeded, MatrixError } from '../../../matrix/errors.ts';
import type { JsonObject, JsonValue } from '../../../matrix/json.ts';
import type { Timer } from '../../../util/clock.ts';
import { Gate } from '../../../util/gate.ts';
import { atMost } from '../../../util/lru.ts';
import type { PreviewStore } from '../store.ts';
import { bounded, describePage, type OpenGraph } from './describe.ts';
import { type Fetcher, type FetchOptions, type Found, tooLargeThere, unavailable } from './fetcher.ts';
import { clamp, lifetimeOf } from './lifetime.ts';
import type { KeptPicture, PreviewNeeds } from './needs.ts';
import { type OembedAnswer, readOembed } from './oembed.ts';
import type { OembedProviders } from './oembed-providers.ts';
import { dataPicture } from './data-picture.ts';
import { readPage } from './read-page.ts';

interface PreviewServiceNeeds extends PreviewNeeds {
  readonly store: PreviewStore;
  readonly fetcher: Fetcher;
  readonly providers: OembedProviders;
}

/** A preview as it was made. */
interface Made {
  readonly og: OpenGraph;
  readonly lifetimeMs: number;
}

/** Being made at a time, of one host and of all; waiting or being made, of which more are refused. */
const PER_HOST = 2;
const AT_ONCE = 8;
const MAX_FLIGHTS = 200;
/** All that one preview takes: the page, what describes it, its picture, ms. */
const WHOLE_MS = 45_000;
/** For how long a page that has none is not asked again, ms, and how many such are remembered. */
const REFUSAL_MS = 60_000;
const MAX_REFUSALS = 1_000;
/** Previews go a day before their pictures do, ms. */
const PREVIEW_KEPT_MS = 24 * 60 * 60_000;
const PICTURE_KEPT_MS = 2 * PREVIEW_KEPT_MS;
const HOUSEKEEPING_MS = 60 * 60_000;
const BATCH = 200;
const MAX_OEMBED_BYTES = 512 * 1024;
const PAGES = 'text/html, application/xhtml+xml;q=0.9, image/*;q=0.8, */*;q=0.1';

/** Makes previews of web pages, and keeps them. What several want at once is made once. */
export class Previews {
  readonly #needs: PreviewServiceNeeds;
  readonly #flights = new Map<string, Promise<JsonObject>>();
  readonly #refusals = new LRUCache<string, { readonly error: MatrixError; readonly untilMs: number }>(
    atMost(MAX_REFUSALS),
  );
  readonly #lines = new Map<string, { readonly gate: Gate; users: number }>();
  readonly #all = new Gate(AT_ONCE);
  readonly #stopping = new AbortController();
  #timer: Timer | undefined;

  constructor(needs: PreviewServiceNeeds) {
    this.#needs = needs;
  }

  start(): void {
    this.#timer = this.#needs.clock.after(HOUSEKEEPING_MS, () => {
      this.start();
      void this.#removeOld();
    });
  }

  /** Breaks off what is under way. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#stopping.abort();
    await Promise.allSettled(this.#flights.values());
  }

  /**
   * What is behind an address, as it was at `atMs` if that is still known. Throws M_UNKNOWN (400 for what is no web address,
   * 403 for what must not be asked for, 502 or 504 where there is nothing to preview), M_TOO_LARGE (502), M_LIMIT_EXCEEDED.
   */
  async get(requester: Requester, address: string, atMs?: number): Promise<JsonObject> {
    const { clock, store, fetcher, limit } = this.#needs;
    const url = URL.parse(address);
    if (url === null) throw new MatrixError('M_UNKNOWN', 'This is no web address', { status: 400 });
    fetcher.check(url);
    // It never reaches the server.
    url.hash = '';
    const now = clock.now();
    for (const at of atMs === undefined ? [now] : [atMs, now]) {
      const known = store.find(url.href, at);
      if (known !== undefined && known.expiresMs > at) return JSON.parse(known.preview);
    }
    const flight = this.#flights.get(url.href);
    if (flight !== undefined) return flight;
    const refusal = this.#refusals.get(url.href);
    if (refusal !== undefined && refusal.untilMs > clock.monotonic()) throw refusal.error;
    limit.checkFor(requester, requester.userId);
    return this.#makeOnce(url);
  }

  #makeOnce(url: URL): Promise<JsonObject> {
    if (this.#flights.size >= MAX_FLIGHTS) throw limitExceeded(5_000);
    const { href } = url;
    const flight = this.#inLine(url.hostname, () => this.#makeAndKeep(url)).finally(() => this.#flights.delete(href));
    this.#flights.set(href, flight);
    return flight;
  }

  async #inLine<Result>(host: string, work: () => Promise<Result>): Promise<Result> {
    const line = this.#lines.get(host) ?? { gate: new Gate(PER_HOST), users: 0 };
    this.#lines.set(host, line);
    line.users += 1;
    try {
      return await line.gate.run(() => this.#all.run(work));
    } finally {
      line.users -= 1;
      if (line.users === 0) this.#lines.delete(host);
    }
  }

  async #makeAndKeep(url: URL): Promise<JsonObject> {
    const { db, clock, log, store } = this.#needs;
    if (this.#stopping.signal.aborted) throw unavailable('The server is stopping');
    try {
      const { og, lifetimeMs } = await this.#make(url);
      const preview = bounded(og);
      const now = clock.now();
      db.write((tx) =>
        store.put(tx, url.href, now, { preview: JSON.stringify(preview), expiresMs: now + clamp(lifetimeMs) }),
      );
      return preview;
    } catch (error) {
      if (error instanceof MatrixError && error.errcode !== 'M_LIMIT_EXCEEDED' && error.status !== 507) {
        this.#refusals.set(url.href, { error, untilMs: clock.monotonic() + REFUSAL_MS });
        // Whom people write of is nobody's business: not even the host is named.
        log.debug({ reason: error.message }, 'a page has no preview');
      }
      throw error;
    }
  }

  async #make(url: URL): Promise<Made> {
    const { clock, fetcher, providers, settings } = this.#needs;
    const end = clock.monotonic() + WHOLE_MS;
    const endpoint = providers.find(url);
    const told = endpoint === undefined ? undefined : await this.#askOembed(endpoint, url, end);
    if (told !== undefined) {
      const lifetimeMs = told.lifetimeMs ?? Number.POSITIVE_INFINITY;
      return { og: await this.#withPicture(authored(told), url, end), lifetimeMs };
    }
    const found = await fetcher.open(url, this.#fetchOptions(PAGES, settings.maxPageBytes, end));
    try {
      const lifetimeMs = lifetimeOf(found.headers, clock.now());
      if (isPicture(found.type)) return { og: await this.#describePicture(found), lifetimeMs };
      if (isPage(found.type)) return await this.#describePage(found, url, lifetimeMs, end);
      throw unavailable('Nothing can be told of what is behind the address');
    } finally {
      found.close();
    }
  }

  async #describePicture(found: Found): Promise<OpenGraph> {
    const picture = await this.#keepPicture(found);
    if (picture === undefined) throw unavailable('Nothing can be told of what is behind the address');
    const og: OpenGraph = new Map();
    if (picture.name !== undefined) og.set('og:description', picture.name);
    addPicture(og, picture);
    return og;
  }

  async #describePage(found: Found, asked: URL, lifetimeMs: number, end: number): Promise<Made> {
    const facts = await readPage(found.content, found.type, this.#needs.clock);
    const base = URL.parse(facts.base ?? '', found.url.href) ?? found.url;
    const endpoint = facts.oembed === undefined ? null : URL.parse(facts.oembed, base.href);
    const told = endpoint === null ? undefined : await this.#askOembed(endpoint, asked, end);
    const fromPage = describePage(facts);
    const og = told === undefined ? fromPage : new Map([...fromPage, ...authored(told, fromPage)]);
    return {
      og: await this.#withPicture(og, base, end),
      lifetimeMs: Math.min(lifetimeMs, told?.lifetimeMs ?? lifetimeMs),
    };
  }

  /** What a site says of one of its pages; undefined where it says nothing: then the page itself has to do. */
  async #askOembed(endpoint: URL, page: URL, end: number): Promise<OembedAnswer | undefined> {
    const { clock, fetcher, log } = this.#needs;
    let found: Found | undefined;
    try {
      found = await fetcher.open(endpoint, this.#fetchOptions('application/json', MAX_OEMBED_BYTES, end));
      const chunks: Buffer[] = [];
      for await (const chunk of found.content) chunks.push(chunk);
      const answer: JsonValue = JSON.parse(Buffer.concat(chunks).toString());
      return await readOembed(answer, page, clock);
    } catch (error) {
      if (!(error instanceof MatrixError) && !(error instanceof SyntaxError)) throw error;
      log.debug({ reason: error.message }, 'a page is not described by its site');
      return undefined;
    } finally {
      found?.close();
    }
  }

  /** With the picture that is named as one of our own; without any where it cannot be had. */
  async #withPicture(described: OpenGraph, base: URL, end: number): Promise<OpenGraph> {
    const { fetcher, settings, log } = this.#needs;
    const address = described.get('og:image') ?? described.get('og:image:secure_url') ?? described.get('og:image:url');
    // Of the picture as its site has it; nobody is to ask there.
    const og: OpenGraph = new Map([...described].filter(([name]) => !/^og:image(?!:alt$)/.test(name)));
    const alt = og.get('og:image:alt');
    og.delete('og:image:alt');
    if (typeof address !== 'string') return og;
    let found: Pick<Found, 'content' | 'headers' | 'close'> | undefined;
    try {
      const url = URL.parse(address, base.href);
      found =
        url?.protocol === 'data:'
          ? dataPicture(url.href)
          : url === null
            ? undefined
            : await fetcher.open(url, this.#fetchOptions('image/*', settings.maxPageBytes, end));
      const picture = found === undefined ? undefined : await this.#keepPicture(found);
      if (picture !== undefined) {
        addPicture(og, picture);
        if (alt !== undefined) og.set('og:image:alt', alt);
      }
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error;
      log.debug({ reason: error.message }, 'the picture of a page cannot be had');
    } finally {
      found?.close();
    }
    return og;
  }

  #keepPicture({ content, headers }: Pick<Found, 'content' | 'headers'>): Promise<KeptPicture | undefined> {
    const { pictures, settings } = this.#needs;
    const { maxPageBytes: maxBytes } = settings;
    const disposition = headers['content-disposition'];
    return pictures.keep(content, { disposition, maxBytes, lifetimeMs: PICTURE_KEPT_MS }, tooLargeThere);
  }

  #fetchOptions(accept: string, maxBytes: number, end: number): FetchOptions {
    return { accept, maxBytes, end, signal: this.#stopping.signal };
  }

  async #removeOld(): Promise<void> {
    const { db, clock, log, store } = this.#needs;
    try {
      const before = clock.now() - PREVIEW_KEPT_MS;
      while (!this.#stopping.signal.aborted && db.write((tx) => store.removeOld(tx, before, BATCH)) === BATCH) {
        await nextTurn();
      }
    } catch (error) {
      log.error({ error: String(error) }, 'old previews could not be removed');
    }
  }
}

/** Whose page it is, where it has no title. */
function authored({ og, author }: OembedAnswer, page?: OpenGraph): OpenGraph {
  if (author !== undefined && !og.has('og:title') && page?.has('og:title') !== true) og.set('og:title', author);
  return og;
}

function addPicture(og: OpenGraph, { uri, type, bytes, width, height }: KeptPicture): void {
  og.set('og:image', uri);
  og.set('og:image:type', type);
  og.set('og:image:width', width);
  og.set('og:image:height', height);
  og.set('matrix:image:size', bytes);
}

function isPicture(type: string): boolean {
  return /^\s*image\//i.test(type);
}

function isPage(type: string): boolean {
  return /^\s*(?:text\/html|application\/xhtml)/i.test(type);
}
