import type { GuardedHttp } from '../../../federation/outbound/guarded-http.ts';
import type { RateLimit } from '../../../http/rate-limit.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import type { BlockedUrl } from './block-list.ts';
import type { OembedProvider } from './oembed-providers.ts';

export interface PreviewSettings {
  readonly blockedUrls: readonly BlockedUrl[];
  /** The largest page or picture that is fetched, bytes. */
  readonly maxPageBytes: number;
  /** Language tags, with weights perhaps. */
  readonly acceptLanguage: readonly string[];
  readonly oembedDefaultProviders: boolean;
  readonly oembedProviders: readonly OembedProvider[];
}

/** A picture of a page that was kept. */
export interface KeptPicture {
  /** An `mxc://` URI. */
  readonly uri: string;
  readonly type: string;
  readonly bytes: number;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  /** What its server calls it. */
  readonly name: string | undefined;
}

/** Where pictures of pages are kept for a while. */
export interface PictureKeeper {
  /**
   * Undefined for what is no picture that clients show. Throws `tooLarge()` past `maxBytes`, and what the content fails with.
   */
  keep(
    content: AsyncIterable<Buffer>,
    info: { readonly disposition: string | undefined; readonly maxBytes: number; readonly lifetimeMs: number },
    tooLarge: () => Error,
  ): Promise<KeptPicture | undefined>;
}

export interface PreviewNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  /** Keeps to the deny list that is for previews. */
  readonly http: Pick<GuardedHttp, 'open'>;
  readonly pictures: PictureKeeper;
  /** Pages fetched for a user. */
  readonly limit: RateLimit;
  readonly settings: PreviewSettings;
}
