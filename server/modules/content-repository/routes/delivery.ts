import type { RateLimit } from '../../../http/rate-limit.ts';
import type { Reply, Requester } from '../../../http/route.ts';
import { notFound } from '../../../matrix/errors.ts';
import type { ServerName } from '../../../matrix/identifiers.ts';
import type { Random } from '../../../util/random.ts';
import type { Content, ContentRequest } from '../service/content.ts';
import { disposition, servedType } from '../service/content-headers.ts';
import type { MediaFiles } from '../service/media-files.ts';
import { readAddress } from '../service/media-uri.ts';
import type { Thumbnails, ThumbnailWish } from '../service/thumbnails.ts';
import { serveContent, type ServedContent, serveToServer } from './serve.ts';

export interface DeliveryNeeds {
  readonly serverName: ServerName;
  readonly random: Random;
  readonly content: Content;
  readonly thumbnails: Thumbnails;
  readonly files: MediaFiles;
  /** Bytes fetched for somebody from other servers. */
  readonly remoteLimit: RateLimit;
}

/** What a request of a client says, as far as it matters here. */
export interface ClientAsks {
  readonly params: { readonly serverName: string; readonly mediaId: string };
  readonly requester: Requester | undefined;
  readonly ip: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly allowRemote: boolean;
}

/** What a request of another server says. */
export interface ServerAsks {
  readonly mediaId: string;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** Answers requests for media and thumbnails, of clients and of servers. */
export class Delivery {
  readonly #needs: DeliveryNeeds;

  constructor(needs: DeliveryNeeds) {
    this.#needs = needs;
  }

  /** A medium, under another name where one is given. */
  async download(asks: ClientAsks, name?: string): Promise<Reply> {
    const served = await this.#medium(this.#requestOf(asks), name);
    return serveContent(served, { headers: asks.headers, isPrivate: asks.requester !== undefined });
  }

  async thumbnail(asks: ClientAsks, wish: ThumbnailWish): Promise<Reply> {
    const served = await this.#thumbnail(this.#requestOf(asks), wish);
    return serveContent(served, { headers: asks.headers, isPrivate: asks.requester !== undefined });
  }

  async downloadToServer(asks: ServerAsks): Promise<Reply> {
    return serveToServer(await this.#medium(this.#ownRequest(asks)), this.#needs.random);
  }

  async thumbnailToServer(asks: ServerAsks, wish: ThumbnailWish): Promise<Reply> {
    return serveToServer(await this.#thumbnail(this.#ownRequest(asks), wish), this.#needs.random);
  }

  async #medium(request: ContentRequest, name?: string): Promise<ServedContent> {
    const { medium, open } = await this.#needs.content.open(request);
    const { file, type } = medium;
    return { open, file, type: servedType(type), disposition: disposition(type, name ?? medium.name) };
  }

  async #thumbnail(request: ContentRequest, wish: ThumbnailWish): Promise<ServedContent> {
    const { content, thumbnails, files } = this.#needs;
    for (let attempts = 0; attempts < 2; attempts += 1) {
      const { medium, open: original } = await content.open(request);
      // It is only opened to be sure that it is there.
      await original.handle.close();
      const thumbnail = await thumbnails.get(medium, wish);
      const { file, type } = thumbnail;
      const open = await files.open(file);
      if (open !== undefined) {
        return { open, file, type, disposition: `inline; filename="thumbnail.${type.slice('image/'.length)}"` };
      }
      thumbnails.forget(medium, thumbnail);
    }
    throw notFound('There is no such media');
  }

  #requestOf(asks: ClientAsks): ContentRequest {
    const { requester, ip, params, timeoutMs, allowRemote, signal } = asks;
    const { remoteLimit } = this.#needs;
    return {
      ...readAddress(params.serverName, params.mediaId),
      timeoutMs,
      allowRemote,
      isAuthenticated: requester !== undefined,
      charge: (bytes) => {
        if (requester === undefined) remoteLimit.check(ip, bytes);
        else remoteLimit.checkFor(requester, requester.userId, bytes);
      },
      signal,
    };
  }

  /** Other servers get what is ours and nothing else. */
  #ownRequest({ mediaId, timeoutMs, signal }: ServerAsks): ContentRequest {
    return {
      ...readAddress(this.#needs.serverName, mediaId),
      timeoutMs,
      allowRemote: false,
      isAuthenticated: true,
      charge: () => {},
      signal,
    };
  }
}
