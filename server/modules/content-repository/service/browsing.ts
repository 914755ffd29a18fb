import type { Database, WriteTx } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import { Pace } from '../../../util/pace.ts';
import type { KeptMedium, MediaListing, MediaStore } from '../store/media.ts';
import type { ThumbnailStore } from '../store/thumbnails.ts';
import type { Accesses } from './accesses.ts';
import type { MediaFiles } from './media-files.ts';
import type { MediaAddress } from './media-uri.ts';

/** How many media there are, and of how many bytes. */
export interface MediaCount {
  readonly files: number;
  readonly bytes: number;
}

/** What was removed, and the bytes that are free on the disk for it. */
export interface MediaRemoval {
  readonly removed: number;
  readonly bytes: number;
}

/** All that is kept, to look through and to clear out. */
export interface MediaBrowsing {
  /** A page of what is here, the largest, the newest, or what was looked at last first. */
  list(listing: MediaListing): readonly KeptMedium[];
  totals(): { readonly local: MediaCount; readonly remote: MediaCount; readonly thumbnails: MediaCount };
  /** Removes these; what is not known, or not here, is passed over. A file goes with the last that refers to it. */
  removeAll(addresses: readonly MediaAddress[]): Promise<MediaRemoval>;
  /** Removes media of other servers that nobody has looked at since `beforeMs`; stops between two when it is told to. */
  removeUnusedRemote(
    beforeMs: number,
    options?: { readonly signal?: AbortSignal; readonly onProgress?: (soFar: MediaRemoval) => void },
  ): Promise<MediaRemoval>;
}

/** Media removed in one write. */
const BATCH = 50;
const SLICE_MS = 5;

export function mediaBrowsing(needs: {
  readonly db: Database;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly media: MediaStore;
  readonly thumbnails: ThumbnailStore;
  readonly files: MediaFiles;
  readonly accesses: Accesses;
}): MediaBrowsing {
  const { db, clock, media, thumbnails, files, accesses } = needs;

  /** Gives the bytes that go with it. */
  function remove(tx: WriteTx, medium: KeptMedium): number {
    const made = thumbnails.list(medium.file);
    if (!media.remove(tx, medium)) return 0;
    files.release(tx, medium.file);
    if (media.hasFile(medium.file)) return 0;
    const drawn = new Map(
      made.filter(({ file }) => !file.equals(medium.file)).map(({ file, bytes }) => [file.toString('hex'), bytes]),
    );
    return [...drawn.values()].reduce((sum, bytes) => sum + bytes, medium.bytes);
  }

  function removeSome(some: readonly KeptMedium[]): number {
    return db.write((tx) => some.reduce((bytes, medium) => bytes + remove(tx, medium), 0));
  }

  return {
    list: (listing) => {
      accesses.flush();
      return media.listKept(listing);
    },
    totals: () => ({ ...media.countByOrigin(), thumbnails: thumbnails.count() }),
    removeAll: async (addresses) => {
      const pace = new Pace(clock, SLICE_MS);
      let removed = 0;
      let bytes = 0;
      for (const { origin, mediaId } of addresses) {
        await pace.step();
        const found = media.find(origin, mediaId);
        if (found?.file === undefined) continue;
        bytes += removeSome([{ ...found, file: found.file }]);
        removed += 1;
      }
      await db.committed();
      return { removed, bytes };
    },
    removeUnusedRemote: async (beforeMs, { signal, onProgress } = {}) => {
      accesses.flush();
      const pace = new Pace(clock, SLICE_MS);
      let removed = 0;
      let bytes = 0;
      while (signal?.aborted !== true) {
        await pace.step();
        const some = media.listIdle('remote', beforeMs, BATCH);
        if (some.length === 0) break;
        bytes += removeSome(some);
        removed += some.length;
        onProgress?.({ removed, bytes });
      }
      await db.committed();
      return { removed, bytes };
    },
  };
}
