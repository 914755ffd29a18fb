import type { Readable } from 'node:stream';
import type { RateLimit } from '../../../http/rate-limit.ts';
import type { Requester } from '../../../http/route.ts';
import { forbidden, limitExceeded, MatrixError, notFound, tooLarge } from '../../../matrix/errors.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import { randomString, type Random } from '../../../util/random.ts';
import type { MediaStore } from '../store/media.ts';
import type { Announced } from './announced.ts';
import type { Arrived, MediaFiles } from './media-files.ts';
import { type MediaAddress, mediaUri } from './media-uri.ts';
import type { ContentSettings } from './needs.ts';

/** What an uploader says of the content. */
export interface UploadInfo {
  readonly type: string;
  readonly name: string | undefined;
  /** How much is announced to come, bytes. */
  readonly declaredBytes: number | undefined;
}

export interface UploadNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly settings: ContentSettings;
  readonly createLimit: RateLimit;
  readonly media: MediaStore;
  readonly files: MediaFiles;
  readonly announced: Announced;
}

/** Letters and digits, like those of other servers; as good as impossible to guess. */
const MEDIA_ID_LENGTH = 24;

/** Takes the content that users of this server bring (spec: "Content repository"). */
export class Uploads {
  readonly #needs: UploadNeeds;

  constructor(needs: UploadNeeds) {
    this.#needs = needs;
  }

  /** Keeps content under a new address, which is given back. Throws M_TOO_LARGE, M_FORBIDDEN, M_USER_LIMIT_EXCEEDED, 507. */
  async upload(requester: Requester, content: Readable, info: UploadInfo): Promise<string> {
    const { media, files, clock, settings } = this.#needs;
    const { userId } = requester;
    this.#checkQuota(userId, info.declaredBytes ?? 0);
    const arrived = await this.#receive(content);
    const address = this.#newAddress();
    await files.keep(arrived, (tx) => {
      // Others of the same user may have come meanwhile.
      this.#checkQuota(userId, arrived.bytes);
      media.insert(tx, {
        ...address,
        ...this.#described(arrived, info),
        isLocal: true,
        uploader: userId,
        now: clock.now(),
        needsToken: settings.authenticatedOnly,
      });
    });
    return mediaUri(address);
  }

  /** Gives out an address whose content is to come later, until when it must be there, ms. Throws M_LIMIT_EXCEEDED. */
  announce(requester: Requester): { readonly uri: string; readonly expiresMs: number } {
    const { db, clock, settings, createLimit, media } = this.#needs;
    const { userId } = requester;
    createLimit.checkFor(requester, userId);
    const now = clock.now();
    const { count, firstExpiry = now } = media.countAnnounced(userId, now);
    if (count >= settings.maxPendingUploads) throw limitExceeded(Math.max(1, firstExpiry - now));
    const address = this.#newAddress();
    const expiresMs = now + settings.pendingUploadLifetimeMs;
    db.write((tx) => media.announce(tx, address.origin, address.mediaId, userId, now, expiresMs));
    return { uri: mediaUri(address), expiresMs };
  }

  /**
   * Brings the content of an announced address. Throws M_NOT_FOUND (unknown or expired), M_FORBIDDEN (somebody else's),
   * M_CANNOT_OVERWRITE_MEDIA, and as `upload`.
   */
  async fill(requester: Requester, address: MediaAddress, content: Readable, info: UploadInfo): Promise<void> {
    const { media, files, clock, settings, announced } = this.#needs;
    const { userId } = requester;
    this.#checkAnnounced(userId, address);
    this.#checkQuota(userId, info.declaredBytes ?? 0);
    const arrived = await this.#receive(content);
    await files.keep(arrived, (tx) => {
      // Much may have happened while it came.
      this.#checkAnnounced(userId, address);
      this.#checkQuota(userId, arrived.bytes);
      const now = clock.now();
      const described = this.#described(arrived, info);
      media.fill(tx, { ...address, ...described, now, needsToken: settings.authenticatedOnly });
    });
    announced.arrived(address);
  }

  #checkAnnounced(userId: UserId, { origin, mediaId }: MediaAddress): void {
    const { media, settings, clock } = this.#needs;
    const found = origin === settings.serverName ? media.find(origin, mediaId) : undefined;
    if (found === undefined) throw notFound('This media ID is not known, or has expired');
    if (found.uploader !== userId) throw forbidden('Only the one who announced an upload can bring it');
    if (found.file !== undefined) throw new MatrixError('M_CANNOT_OVERWRITE_MEDIA', 'This media was uploaded before');
    if ((found.expiresMs ?? 0) <= clock.now()) throw notFound('This media ID has expired');
  }

  #receive(content: Readable): Promise<Arrived> {
    const { settings, files } = this.#needs;
    const { maxUploadBytes } = settings;
    return files.receive(content, maxUploadBytes, () => tooLarge(`Media may have at most ${maxUploadBytes} bytes`));
  }

  #checkQuota(userId: UserId, bytes: number): void {
    const { settings, media, clock } = this.#needs;
    for (const { periodMs, maxBytes, infoUri, canBeRaised } of settings.uploadLimits) {
      if (media.sumUploaded(userId, clock.now() - periodMs) + bytes <= maxBytes) continue;
      const message = `No more than ${maxBytes} bytes can be uploaded in ${periodMs / 1000} seconds`;
      // The errcode made for it must say where to read on.
      if (infoUri === undefined) throw forbidden(message);
      throw new MatrixError('M_USER_LIMIT_EXCEEDED', message, {
        fields: { info_uri: infoUri, can_upgrade: canBeRaised },
      });
    }
  }

  #described(
    { file, bytes }: Arrived,
    { type, name }: UploadInfo,
  ): Pick<Arrived, 'file' | 'bytes'> & Pick<UploadInfo, 'type' | 'name'> {
    return { file, bytes, type, name };
  }

  #newAddress(): MediaAddress {
    const { random, settings } = this.#needs;
    return { origin: settings.serverName, mediaId: randomString(random, MEDIA_ID_LENGTH) };
  }
}
