import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MediaPort } from '../appliance/media/port.ts';
import type { Composition } from '../compose.ts';
import type { Config } from '../config/types.ts';
import { notFound } from '../matrix/errors.ts';
import { isServerName } from '../matrix/identifiers.ts';

/** How many rooms are looked at before others have their turn. */
const ROOMS_AT_ONCE = 1_000;
/** How long it is believed which pictures are whose, ms: pages are leafed through. */
const BELIEVED_MS = 10_000;

type Parts = Pick<Composition, 'media' | 'accounts' | 'profiles' | 'directory'> & {
  readonly config: Pick<Config, 'media'>;
};

export function mediaPort({ media, accounts, profiles, directory, config }: Parts): MediaPort {
  let known: { readonly pictures: Promise<ReadonlyMap<string, string>>; readonly at: number } | undefined;

  /** Whose pictures there are, by `mxc://` URI: people's of this server, and rooms'. */
  function listPictures(): Promise<ReadonlyMap<string, string>> {
    const now = performance.now();
    if (known === undefined || now - known.at > BELIEVED_MS) known = { pictures: readPictures(), at: now };
    return known.pictures;
  }

  async function readPictures(): Promise<ReadonlyMap<string, string>> {
    const pictures = new Map<string, string>();
    for (let last: string | undefined = ''; last !== undefined; ) {
      const some = directory.summaries.listAfter(last, ROOMS_AT_ONCE);
      for (const { roomId, avatarUrl, name, canonicalAlias } of some) {
        if (avatarUrl !== undefined) pictures.set(avatarUrl, name ?? canonicalAlias ?? roomId);
      }
      last = some.at(-1)?.roomId;
      await nextTurn();
    }
    for (const userId of accounts.lookup.listLocalUsers()) {
      const { avatarUrl, displayName } = profiles.find(userId) ?? {};
      if (avatarUrl !== undefined) pictures.set(avatarUrl, displayName ?? userId);
    }
    return pictures;
  }

  function get(): NonNullable<Composition['media']> {
    if (media === undefined) throw notFound('This server keeps no media');
    return media;
  }
  return {
    list: async (listing) => {
      const store = get();
      const pictures = await listPictures();
      return store.list(listing).map((medium) => {
        const pictureOf = pictures.get(`mxc://${medium.origin}/${medium.mediaId}`);
        return {
          origin: medium.origin,
          mediaId: medium.mediaId,
          ...(medium.name === undefined ? {} : { name: medium.name }),
          type: medium.type,
          bytes: medium.bytes,
          ...(medium.uploader === undefined ? {} : { uploadedBy: medium.uploader }),
          createdAt: medium.createdMs,
          lastAccessAt: medium.accessedMs,
          isQuarantined: medium.quarantinedBy !== undefined,
          isProtected: medium.isProtected,
          ...(pictureOf === undefined ? {} : { pictureOf }),
        };
      });
    },
    figures: () => {
      const { local, remote, thumbnails } = get().totals();
      const { storePath: directory, remoteCacheBytes: capBytes } = config.media;
      return { local, remote: { ...remote, ...(capBytes === undefined ? {} : { capBytes }) }, thumbnails, directory };
    },
    remove: (addresses) =>
      get().removeAll(addresses.flatMap(({ origin, mediaId }) => (isServerName(origin) ? [{ origin, mediaId }] : []))),
    removeUnusedRemote: (beforeMs, options) => get().removeUnusedRemote(beforeMs, options),
  };
}
