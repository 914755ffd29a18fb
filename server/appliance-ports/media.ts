import type { MediaPort } from '../appliance/media/port.ts';
import type { Composition } from '../compose.ts';
import type { Config } from '../config/types.ts';
import { notFound } from '../matrix/errors.ts';
import { isServerName } from '../matrix/identifiers.ts';

export function mediaPort({
  media,
  config,
}: Pick<Composition, 'media'> & { readonly config: Pick<Config, 'media'> }): MediaPort {
  function get(): NonNullable<Composition['media']> {
    if (media === undefined) throw notFound('This server keeps no media');
    return media;
  }
  return {
    list: (listing) =>
      get()
        .list(listing)
        .map((medium) => ({
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
        })),
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
