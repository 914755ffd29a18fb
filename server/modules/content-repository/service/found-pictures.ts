import { limitExceeded } from '../../../matrix/errors.ts';
import type { Clock } from '../../../util/clock.ts';
import { randomString, type Random } from '../../../util/random.ts';
import type { MediaStore } from '../store/media.ts';
import type { Thumbnailer } from '../thumbnailer/thumbnailer.ts';
import { readFileName } from './content-headers.ts';
import type { MediaFiles } from './media-files.ts';
import { mediaUri } from './media-uri.ts';
import type { ContentSettings } from './needs.ts';

/** A picture that is kept for a while. */
export interface FoundPicture {
  /** An `mxc://` URI. */
  readonly uri: string;
  /** As its bytes tell it. */
  readonly type: string;
  readonly bytes: number;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  /** What its server calls it. */
  readonly name: string | undefined;
}

export interface FoundPictureInfo {
  /** The Content-Disposition it came with. */
  readonly disposition: string | undefined;
  readonly maxBytes: number;
  /** How long it is kept, ms. */
  readonly lifetimeMs: number;
}

interface FoundPicturesNeeds {
  readonly clock: Clock;
  readonly random: Random;
  readonly settings: Pick<ContentSettings, 'serverName' | 'maxImagePixels' | 'authenticatedOnly'>;
  readonly media: MediaStore;
  readonly files: MediaFiles;
  readonly thumbnailer: Thumbnailer;
}

const ID_LENGTH = 16;
/** Being received or looked at; more are refused. */
const MAX_AT_ONCE = 50;

/** Pictures this server finds itself, for previews of web pages. They are nobody's uploads, and go after a while. */
export class FoundPictures {
  readonly #needs: FoundPicturesNeeds;
  #underWay = 0;

  constructor(needs: FoundPicturesNeeds) {
    this.#needs = needs;
  }

  /**
   * Keeps a picture under an address of its own. Undefined for what is no picture that clients show, or one of too many
   * pixels. Throws `tooLarge()` past `maxBytes`, what the content fails with, M_LIMIT_EXCEEDED, and 507 where the disk is full.
   */
  async keep(
    content: AsyncIterable<Buffer>,
    info: FoundPictureInfo,
    tooLarge: () => Error,
  ): Promise<FoundPicture | undefined> {
    if (this.#underWay >= MAX_AT_ONCE) throw limitExceeded(2_000);
    this.#underWay += 1;
    try {
      return await this.#keep(content, info, tooLarge);
    } finally {
      this.#underWay -= 1;
    }
  }

  async #keep(
    content: AsyncIterable<Buffer>,
    { disposition, maxBytes, lifetimeMs }: FoundPictureInfo,
    tooLarge: () => Error,
  ): Promise<FoundPicture | undefined> {
    const { clock, settings, files, media, thumbnailer } = this.#needs;
    const arrived = await files.receive(content, maxBytes, tooLarge);
    const { file, bytes, path } = arrived;
    const answer = await thumbnailer
      .measure({ source: path, maxPixels: settings.maxImagePixels })
      .catch(async (error: unknown) => {
        await files.discard(arrived);
        throw error;
      });
    if (answer.kind === 'refused') {
      await files.discard(arrived);
      return undefined;
    }
    const { type, width, height } = answer;
    const now = clock.now();
    const name = readFileName(disposition);
    const address = { origin: settings.serverName, mediaId: this.#newId(now) };
    await files.keep(arrived, (tx) =>
      media.insert(tx, {
        ...address,
        isLocal: true,
        file,
        bytes,
        type,
        name,
        uploader: undefined,
        now,
        needsToken: settings.authenticatedOnly,
        expiresMs: now + lifetimeMs,
      }),
    );
    return { uri: mediaUri(address), type, bytes, width, height, name };
  }

  /** The day is part of it, so that whoever sees one can tell it from an upload. */
  #newId(now: number): string {
    return `${new Date(now).toISOString().slice(0, 10)}_${randomString(this.#needs.random, ID_LENGTH)}`;
  }
}
