import { MatrixError, notFound } from '../../../matrix/errors.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import { isKept, type KeptMedium, type Medium, type MediaStore } from '../store/media.ts';
import type { Accesses } from './accesses.ts';
import type { Announced } from './announced.ts';
import type { MediaFiles, OpenFile } from './media-files.ts';
import type { MediaAddress } from './media-uri.ts';
import type { ContentSettings } from './needs.ts';
import type { RemoteMedia } from './remote-media.ts';

/** What is asked for, and how much effort it is worth. */
export interface ContentRequest extends MediaAddress {
  /** How long to wait for an upload that was announced, ms. */
  readonly timeoutMs: number;
  /** Ask the server it belongs to where it is not here. */
  readonly allowRemote: boolean;
  /** Whether the one who asks has shown who they are. */
  readonly isAuthenticated: boolean;
  /** Counts bytes that are fetched for them. Throws M_LIMIT_EXCEEDED. */
  readonly charge: (bytes: number) => void;
  readonly signal: AbortSignal;
}

export interface ContentServiceNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: ContentSettings;
  readonly media: MediaStore;
  readonly files: MediaFiles;
  readonly announced: Announced;
  readonly accesses: Accesses;
  readonly remote: RemoteMedia | undefined;
}

const NOT_THERE = 'There is no such media';

/** Finds media, here or at the server they belong to. */
export class Content {
  readonly #needs: ContentServiceNeeds;
  readonly #blocked: ReadonlySet<string>;

  constructor(needs: ContentServiceNeeds) {
    this.#needs = needs;
    this.#blocked = new Set(needs.settings.blockedServers);
  }

  /** The medium, whose content is here by then. Throws M_NOT_FOUND, M_NOT_YET_UPLOADED and as `RemoteMedia.fetch`. */
  async get(request: ContentRequest): Promise<KeptMedium> {
    const { settings, accesses } = this.#needs;
    const found = await (request.origin === settings.serverName ? this.#getLocal(request) : this.#getRemote(request));
    accesses.mark(found);
    return found;
  }

  /** The medium with its content open to be read. Throws as `get`. */
  async open(request: ContentRequest): Promise<{ readonly medium: KeptMedium; readonly open: OpenFile }> {
    const { files, log } = this.#needs;
    for (let attempts = 0; ; attempts += 1) {
      const medium = await this.get(request);
      const open = await files.open(medium.file);
      if (open !== undefined) return { medium, open };
      log.error({ origin: medium.origin, mediaId: medium.mediaId }, 'the file of a medium is lost');
      // What belongs to another server can be had again.
      if (medium.isLocal || attempts > 0) throw notFound(NOT_THERE);
      this.forget(medium);
    }
  }

  /** Removes a medium from this server; its file goes if no other has the same content. */
  forget(medium: Medium): void {
    const { db, media, files } = this.#needs;
    db.write((tx) => {
      if (media.remove(tx, medium) && medium.file !== undefined) files.release(tx, medium.file);
    });
  }

  async #getLocal(request: ContentRequest): Promise<KeptMedium> {
    const { media, announced } = this.#needs;
    const find = (): Medium => {
      const found = media.find(request.origin, request.mediaId);
      if (found === undefined || this.#isExpired(found)) throw notFound(NOT_THERE);
      return found;
    };
    let found = find();
    if (!isKept(found)) {
      await announced.wait(found, request.timeoutMs, request.signal);
      found = find();
    }
    if (!isKept(found)) throw new MatrixError('M_NOT_YET_UPLOADED', 'This media has not been uploaded yet');
    return this.#admit(found, request);
  }

  async #getRemote(request: ContentRequest): Promise<KeptMedium> {
    const { media, remote, settings } = this.#needs;
    // Spec: `allow_remote` is there so that servers do not ask one another in circles.
    if (!request.allowRemote || this.#blocked.has(request.origin)) throw notFound(NOT_THERE);
    const found = media.find(request.origin, request.mediaId);
    if (found !== undefined && isKept(found)) return this.#admit(found, request);
    // What would come now could only be had with a token.
    if (settings.authenticatedOnly && !request.isAuthenticated) throw notFound(NOT_THERE);
    if (remote === undefined) throw notFound(NOT_THERE);
    return this.#admit(await remote.fetch(request, request), request);
  }

  #admit(medium: KeptMedium, { isAuthenticated }: ContentRequest): KeptMedium {
    if (medium.quarantinedBy !== undefined) throw notFound(NOT_THERE);
    // Spec: "Content repository", client behaviour: what came after the freeze is not there for those without a token.
    if (this.#needs.settings.authenticatedOnly && medium.needsToken && !isAuthenticated) throw notFound(NOT_THERE);
    return medium;
  }

  #isExpired({ file, expiresMs }: Medium): boolean {
    return file === undefined && (expiresMs ?? 0) <= this.#needs.clock.now();
  }
}
