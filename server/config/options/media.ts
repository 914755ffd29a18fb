import { isServerName } from '../../matrix/identifiers.ts';
import {
  anything,
  choice,
  duration,
  flag,
  identifier,
  integer,
  ipRange,
  list,
  mapOf,
  orNull,
  path,
  size,
  text,
} from '../kinds.ts';
import type { ThumbnailSize } from '../types.ts';
import { group, option, required, section } from '../option.ts';

const thumbnail = section({
  width: required(integer({ min: 1, max: 10_000 }), 'Width in pixels.'),
  height: required(integer({ min: 1, max: 10_000 }), 'Height in pixels.'),
  method: required(choice('crop', 'scale'), 'crop fills the frame, scale keeps the whole picture.'),
});

const thumbnails: readonly ThumbnailSize[] = [
  { width: 32, height: 32, method: 'crop' },
  { width: 96, height: 96, method: 'crop' },
  { width: 320, height: 240, method: 'scale' },
  { width: 640, height: 480, method: 'scale' },
  { width: 800, height: 600, method: 'scale' },
];

/** Files that users send, and previews of links. */
export const mediaOptions = {
  enable_media_repo: option(flag, true, 'Serve media at all.'),
  enable_local_media_storage: option(flag, true, 'Keep media in media_store_path.', {
    note: 'has no effect: there is no other place for media',
  }),
  enable_authenticated_media: option(flag, true, 'Media can only be had by those who are logged in.'),
  media_store_path: option(path, undefined, 'The directory media are stored in.'),
  media_storage_providers: option(
    list(
      section({
        module: required(text, 'The kind of store.'),
        store_local: option(flag, false, 'Put media of this server there.'),
        store_remote: option(flag, false, 'Put media of other servers there.'),
        store_synchronous: option(flag, false, 'Wait until it is done.'),
        config: option(anything, undefined, 'What the store wants to know.'),
      }),
    ),
    [],
    'Further places for media.',
    { note: 'has no effect: media are kept in media_store_path only' },
  ),
  max_upload_size: option(size, 50 * 1024 ** 2, 'The largest file users may upload.'),
  max_pending_media_uploads: option(integer(), 5, 'How many uploads a user may announce without beginning them.'),
  unused_expiration_time: option(duration, 86_400_000, 'How long an announced upload may take to come.'),
  media_upload_limits: option(
    list(
      section({
        time_period: required(duration, 'The time that is looked at.'),
        max_size: required(size, 'What may be uploaded in it.'),
        msc4335_info_uri: option(text, undefined, 'A page that explains the limit.'),
        msc4335_soft_limit: option(flag, false, 'Whether users can do something about the limit.'),
        msc4335_increase_uri: option(text, undefined, 'A page to ask for more.'),
      }),
    ),
    [],
    'How much a user may upload in some time.',
  ),
  max_image_pixels: option(size, 32 * 1024 ** 2, 'The largest picture, in pixels, that thumbnails are made of.'),
  dynamic_thumbnails: option(flag, false, 'Make thumbnails in whatever size is asked for.'),
  thumbnail_sizes: option(list(thumbnail), thumbnails, 'The sizes thumbnails are made in.'),
  media_retention: group(
    {
      local_media_lifetime: option(orNull(duration), null, 'For media of this server; for ever, if left out.'),
      remote_media_lifetime: option(orNull(duration), null, 'For media of other servers; for ever, if left out.'),
    },
    'How long media are kept that nobody looks at.',
  ),
  remote_media_download_per_second: option(size, 87 * 1024, 'Bytes a second a user may fetch from other servers.'),
  remote_media_download_burst_count: option(size, 500 * 1024 ** 2, 'Bytes a user may fetch from them at once.'),
  prevent_media_downloads_from: option(
    list(identifier('a server name', isServerName)),
    [],
    'Servers whose media are not fetched.',
  ),
  url_preview_enabled: option(flag, false, 'Fetch web pages that users write of, to show what they are.'),
  url_preview_ip_range_blacklist: option(list(ipRange), undefined, 'Addresses such pages must not be at.'),
  url_preview_ip_range_whitelist: option(list(ipRange), [], 'Exceptions from these addresses.'),
  url_preview_url_blacklist: option(
    list(mapOf(text)),
    [],
    'Pages that are not fetched, by parts of their address (scheme, netloc, path …): a glob, or a pattern after ^.',
  ),
  url_preview_accept_language: option(list(text), ['en'], 'The languages pages are asked for in.'),
  max_spider_size: option(size, 10 * 1024 ** 2, 'The largest page that is fetched.'),
  oembed: group(
    {
      disable_default_providers: option(flag, false, 'Use none but those named below.'),
      additional_providers: option(list(path), [], 'Files that name further providers.'),
    },
    'Sites that describe their pages in the oEmbed format.',
  ),
};
