import type { Module } from '../../module.ts';
import { Delivery } from './routes/delivery.ts';
import { downloadRoutes, federationRoutes, oldDownloadRoutes } from './routes/downloads.ts';
import { uploadRoutes } from './routes/uploads.ts';
import { Accesses } from './service/accesses.ts';
import { type MediaAdministration, mediaAdministration } from './service/administration.ts';
import { Announced } from './service/announced.ts';
import { type MediaBrowsing, mediaBrowsing } from './service/browsing.ts';
import { Content } from './service/content.ts';
import { FoundPictures } from './service/found-pictures.ts';
import { Housekeeping } from './service/housekeeping.ts';
import { MediaFiles } from './service/media-files.ts';
import type { ContentNeeds } from './service/needs.ts';
import { RemoteMedia } from './service/remote-media.ts';
import { Thumbnails } from './service/thumbnails.ts';
import { Uploads } from './service/uploads.ts';
import { DebrisStore } from './store/debris.ts';
import { MediaStore } from './store/media.ts';
import { ThumbnailStore } from './store/thumbnails.ts';
import { Thumbnailer } from './thumbnailer/thumbnailer.ts';

export { migrations } from './schema.ts';
export { listKeptFiles, placeOf, sumKeptBytes } from './service/kept-files.ts';
export type { MediaAdministration } from './service/administration.ts';
export type { MediaBrowsing } from './service/browsing.ts';
export type { ContentNeeds, ContentSettings } from './service/needs.ts';

export interface ContentRepository extends Module {
  readonly media: MediaAdministration & MediaBrowsing;
  readonly foundPictures: FoundPictures;
}

/** Files that users send, and those of other servers' users (spec: "Content repository"). */
export function contentRepository(needs: ContentNeeds): ContentRepository {
  const { db, clock, random, log, settings, limits, remote: remoteNeeds } = needs;
  const media = new MediaStore(db);
  const thumbnailStore = new ThumbnailStore(db);
  const files = new MediaFiles({
    db,
    random,
    log,
    path: settings.storePath,
    media,
    thumbnails: thumbnailStore,
    debris: new DebrisStore(db),
  });
  const accesses = new Accesses({ db, clock, media });
  const announced = new Announced(clock);
  const housekeeping = new Housekeeping({ db, clock, log, settings, media, files, accesses });
  const remote =
    remoteNeeds === undefined
      ? undefined
      : new RemoteMedia({
          clock,
          log,
          settings,
          media,
          files,
          remote: remoteNeeds,
          onKept: (bytes) => housekeeping.fetched(bytes),
        });
  const content = new Content({ db, clock, log, settings, media, files, announced, accesses, remote });
  const thumbnailer = new Thumbnailer({ clock, log });
  const thumbnails = new Thumbnails({ db, clock, settings, media, thumbnails: thumbnailStore, files, thumbnailer });
  const uploads = new Uploads({
    db,
    clock,
    random,
    settings,
    createLimit: limits.create,
    media,
    files,
    announced,
  });
  const { serverName, maxUploadBytes } = settings;
  const delivery = new Delivery({ serverName, random, content, thumbnails, files, remoteLimit: limits.remoteBytes });

  return {
    name: 'content-repository',
    foundPictures: new FoundPictures({ clock, random, settings, media, files, thumbnailer }),
    media: {
      ...mediaAdministration({ db, media, content, housekeeping }),
      ...mediaBrowsing({ db, clock, media, thumbnails: thumbnailStore, files, accesses }),
    },
    routes: [
      ...uploadRoutes({ uploads, maxUploadBytes }),
      ...downloadRoutes(delivery),
      ...oldDownloadRoutes(delivery),
      ...federationRoutes(delivery),
    ],
    start: () => {
      files.start();
      housekeeping.start();
    },
    stop: async () => {
      await remote?.stop();
      await thumbnailer.stop();
      await housekeeping.stop();
      accesses.flush();
      await files.stop();
    },
  };
}
