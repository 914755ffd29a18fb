import type { UserId } from '../../../matrix/identifiers.ts';
import type { Database } from '../../../storage/types.ts';
import type { Medium, MediaStore } from '../store/media.ts';
import type { Content } from './content.ts';
import type { Housekeeping } from './housekeeping.ts';
import { type MediaAddress, parseMediaUri } from './media-uri.ts';

/** What whoever administers the server may do with media, and what other parts may know of them. */
export interface MediaAdministration {
  find(address: MediaAddress): Medium | undefined;
  /** By an `mxc://` URI: size and type of what is here and not in quarantine. */
  describe(mxcUri: string): { readonly bytes: number; readonly mimeType: string } | undefined;
  /**
   * Keeps everybody from a medium, and from all others with the same content that are not protected; says how many. What
   * comes later with that content is in quarantine too.
   */
  quarantine(address: MediaAddress, by: string): number;
  /** The same for all that a user has uploaded. */
  quarantineOfUser(userId: UserId, by: string): Promise<number>;
  /** Lifts a quarantine from all media with this content; says how many. */
  unquarantine(address: MediaAddress): number;
  /** Protects a medium of this server from quarantine and from expiry, or no longer. False where it is not known. */
  protect(address: MediaAddress, isProtected: boolean): boolean;
  /** A page of a user's uploads, the newest first, with how many there are of how many bytes. */
  listOfUser(
    userId: UserId,
    page: { readonly limit: number; readonly offset: number },
  ): { readonly media: readonly Medium[]; readonly count: number; readonly bytes: number };
  /** What the media here take, bytes. */
  bytesByOrigin(): { readonly local: number; readonly remote: number };
  /** Deletes a medium; false where it is not known. */
  remove(address: MediaAddress): boolean;
  /** Deletes all of a user's uploads; says how many. */
  removeOfUser(userId: UserId): Promise<number>;
  /** Deletes what nobody has looked at since `beforeMs`: media of other servers can be fetched again. Says how many. */
  purgeRemote(beforeMs: number): Promise<number>;
  purgeLocal(beforeMs: number): Promise<number>;
}

const BATCH = 50;

export function mediaAdministration({
  db,
  media,
  content,
  housekeeping,
}: {
  db: Database;
  media: MediaStore;
  content: Content;
  housekeeping: Housekeeping;
}): MediaAdministration {
  const find = ({ origin, mediaId }: MediaAddress): Medium | undefined => media.find(origin, mediaId);
  const quarantine = (address: MediaAddress, by: string): number => {
    const file = find(address)?.file;
    return file === undefined ? 0 : db.write((tx) => media.quarantine(tx, file, by));
  };

  return {
    find,
    describe: (mxcUri) => {
      const address = parseMediaUri(mxcUri);
      const found = address === undefined ? undefined : find(address);
      if (found?.file === undefined || found.quarantinedBy !== undefined) return undefined;
      return { bytes: found.bytes, mimeType: found.type };
    },
    quarantine,
    quarantineOfUser: async (userId, by) => {
      let count = 0;
      for (let offset = 0; ; offset += BATCH) {
        const page = media.listOfUser(userId, BATCH, offset);
        for (const each of page) count += quarantine(each, by);
        if (page.length < BATCH) return count;
        await db.committed();
      }
    },
    unquarantine: (address) => {
      const file = find(address)?.file;
      return file === undefined ? 0 : db.write((tx) => media.release(tx, file));
    },
    protect: ({ origin, mediaId }, isProtected) => db.write((tx) => media.protect(tx, origin, mediaId, isProtected)),
    listOfUser: (userId, { limit, offset }) => ({
      media: media.listOfUser(userId, limit, offset),
      ...media.countOfUser(userId),
    }),
    bytesByOrigin: () => {
      const { local, remote } = media.countByOrigin();
      return { local: local.bytes, remote: remote.bytes };
    },
    remove: (address) => {
      const found = find(address);
      if (found === undefined) return false;
      content.forget(found);
      return true;
    },
    removeOfUser: async (userId) => {
      for (let count = 0; ; ) {
        const page = media.listOfUser(userId, BATCH, 0);
        if (page.length === 0) return count;
        for (const each of page) content.forget(each);
        count += page.length;
        await db.committed();
      }
    },
    purgeRemote: (beforeMs) => housekeeping.removeIdle('remote', beforeMs),
    purgeLocal: (beforeMs) => housekeeping.removeIdle('local', beforeMs),
  };
}
