import { LRUCache } from 'lru-cache';
import { MatrixError, notFound, tooLarge } from '../../../matrix/errors.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import { atMost } from '../../../util/lru.ts';
import type { KeptMedium, MediaStore } from '../store/media.ts';
import type { Thumbnail, ThumbnailKey, ThumbnailStore } from '../store/thumbnails.ts';
import type { RefusalReason } from '../thumbnailer/protocol.ts';
import type { Thumbnailer } from '../thumbnailer/thumbnailer.ts';
import type { MediaFiles } from './media-files.ts';
import type { ContentSettings, ThumbnailSize } from './needs.ts';

export interface ThumbnailWish extends ThumbnailSize {
  readonly animated: boolean;
}

export interface ThumbnailNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly settings: Pick<ContentSettings, 'dynamicThumbnails' | 'thumbnailSizes' | 'maxImagePixels'>;
  readonly media: MediaStore;
  readonly thumbnails: ThumbnailStore;
  readonly files: MediaFiles;
  readonly thumbnailer: Thumbnailer;
}

/** Of one picture; beyond it the oldest goes. */
const MAX_PER_PICTURE = 16;
/** No frame is larger, pixels; it bounds what is written down, hardly any picture. */
const MAX_SIDE = 16_384;
/** For how long a picture that could not be drawn is not tried again, ms, and how many such are remembered. */
const REFUSAL_MS = 60 * 60_000;
const MAX_REFUSALS = 2_000;

/**
 * Makes thumbnails when they are first asked for and keeps them (spec: "Content repository", "Thumbnails"). Unless all sizes
 * are allowed, the smallest of the configured ones is taken that is not smaller than what was asked for; where none is large
 * enough, exactly that, since nothing smaller may be given.
 */
export class Thumbnails {
  readonly #needs: ThumbnailNeeds;
  readonly #flights = new Map<string, Promise<Thumbnail>>();
  readonly #refusals = new LRUCache<string, { readonly reason: RefusalReason; readonly untilMs: number }>(
    atMost(MAX_REFUSALS),
  );

  constructor(needs: ThumbnailNeeds) {
    this.#needs = needs;
  }

  /** Throws M_UNKNOWN (400) where there can be no thumbnail, M_TOO_LARGE (413, for other servers' media 502), M_LIMIT_EXCEEDED. */
  async get(medium: KeptMedium, wish: ThumbnailWish): Promise<Thumbnail> {
    const key: ThumbnailKey = { ...this.#sizeFor(wish), source: medium.file, animated: wish.animated };
    return this.#needs.thumbnails.find(key) ?? (await this.#makeOnce(key, medium));
  }

  /** A file that was to be there is lost: the thumbnail is to be made anew. */
  forget(medium: KeptMedium, { file }: Thumbnail): void {
    const { db, thumbnails, files } = this.#needs;
    db.write((tx) => {
      for (const each of thumbnails.list(medium.file)) if (each.file.equals(file)) thumbnails.remove(tx, each);
      files.giveUp(tx, file);
    });
  }

  #sizeFor(wish: ThumbnailSize): ThumbnailSize {
    const { dynamicThumbnails, thumbnailSizes } = this.#needs.settings;
    const { method } = wish;
    const width = Math.min(wish.width, MAX_SIDE);
    const height = Math.min(wish.height, MAX_SIDE);
    const exact = { width, height, method };
    if (dynamicThumbnails) return exact;
    const fitting = thumbnailSizes.filter(
      (size) => size.method === method && size.width >= width && size.height >= height,
    );
    // Cut to another shape than was asked for, it would not be what was asked for.
    const shaped = method === 'scale' ? fitting : fitting.filter((size) => size.width * height === size.height * width);
    return shaped.sort((a, b) => a.width * a.height - b.width * b.height)[0] ?? exact;
  }

  #makeOnce(key: ThumbnailKey, medium: KeptMedium): Promise<Thumbnail> {
    const source = key.source.toString('hex');
    this.#checkRefusal(source, medium);
    const name = `${source} ${key.width} ${key.height} ${key.method} ${key.animated}`;
    const known = this.#flights.get(name);
    if (known !== undefined) return known;
    const flight = this.#make(key, medium, source).finally(() => this.#flights.delete(name));
    this.#flights.set(name, flight);
    return flight;
  }

  async #make(key: ThumbnailKey, medium: KeptMedium, source: string): Promise<Thumbnail> {
    const { db, clock, settings, files, media, thumbnails, thumbnailer } = this.#needs;
    const { width, height, method, animated } = key;
    const target = files.incomingPath();
    const answer = await thumbnailer.make({
      source: files.pathOf(key.source),
      target,
      width,
      height,
      method,
      animated,
      maxPixels: settings.maxImagePixels,
    });
    switch (answer.kind) {
      case 'refused':
        await files.discard({ path: target });
        // A file that has gone meanwhile says nothing of what it held.
        if (!media.hasFile(key.source)) throw notFound('There is no such media');
        this.#refusals.set(source, { reason: answer.reason, untilMs: clock.monotonic() + REFUSAL_MS });
        throw refusal(answer.reason, medium);
      case 'original': {
        const original = { file: key.source, bytes: medium.bytes, type: answer.type };
        db.write((tx) => {
          if (media.hasFile(key.source)) thumbnails.put(tx, key, original, clock.now());
        });
        return original;
      }
      case 'made': {
        const arrived = await files.adopt(target);
        const thumbnail = { file: arrived.file, bytes: arrived.bytes, type: answer.type };
        await files.keep(arrived, (tx) => {
          if (!media.hasFile(key.source)) throw notFound('There is no such media');
          const others = thumbnails.list(key.source);
          for (const old of others.slice(0, Math.max(0, others.length - MAX_PER_PICTURE + 1))) {
            thumbnails.remove(tx, old);
            if (!old.file.equals(key.source)) files.giveUp(tx, old.file);
          }
          thumbnails.put(tx, key, thumbnail, clock.now());
        });
        return thumbnail;
      }
    }
  }

  #checkRefusal(source: string, medium: KeptMedium): void {
    const known = this.#refusals.get(source);
    if (known === undefined) return;
    if (known.untilMs > this.#needs.clock.monotonic()) throw refusal(known.reason, medium);
    this.#refusals.delete(source);
  }
}

function refusal(reason: RefusalReason, { isLocal }: KeptMedium): MatrixError {
  if (reason === 'too-large') {
    const error = tooLarge('This picture is too large for a thumbnail');
    // Spec: "Security considerations": what another server has too large is no fault of the client's.
    return isLocal ? error : new MatrixError('M_TOO_LARGE', error.message, { status: 502 });
  }
  return new MatrixError('M_UNKNOWN', 'No thumbnail can be made of this content', { status: 400 });
}
