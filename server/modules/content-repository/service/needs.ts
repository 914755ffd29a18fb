import type { FederationClient } from '../../../federation/types.ts';
import type { GuardedHttp } from '../../../federation/outbound/guarded-http.ts';
import type { RateLimit } from '../../../http/rate-limit.ts';
import type { ServerName } from '../../../matrix/identifiers.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import type { Random } from '../../../util/random.ts';

export type ThumbnailMethod = 'crop' | 'scale';

/** A frame for a thumbnail, pixels. */
export interface ThumbnailSize {
  readonly width: number;
  readonly height: number;
  readonly method: ThumbnailMethod;
}

export interface ContentSettings {
  readonly serverName: ServerName;
  /** The directory all files are in. */
  readonly storePath: string;
  readonly maxUploadBytes: number;
  /** The largest picture thumbnails are made of, pixels. */
  readonly maxImagePixels: number;
  /** Make thumbnails in exactly the size asked for, rather than in the next of `thumbnailSizes`. */
  readonly dynamicThumbnails: boolean;
  readonly thumbnailSizes: readonly ThumbnailSize[];
  /** How long media are kept that nobody looks at, ms; undefined: for ever. */
  readonly localLifetimeMs: number | undefined;
  readonly remoteLifetimeMs: number | undefined;
  /** How much is kept of other servers' media, bytes; undefined: all. */
  readonly remoteCacheBytes: number | undefined;
  readonly maxPendingUploads: number;
  readonly pendingUploadLifetimeMs: number;
  /** How much a user may upload in some time. */
  readonly uploadLimits: readonly UploadLimit[];
  /** Whether what comes in from now on can only be had with an access token. */
  readonly authenticatedOnly: boolean;
  readonly blockedServers: readonly ServerName[];
}

export interface UploadLimit {
  readonly periodMs: number;
  readonly maxBytes: number;
  /** A page that explains the limit. */
  readonly infoUri: string | undefined;
  /** Whether users can do something about it. */
  readonly canBeRaised: boolean;
}

export interface ContentNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly settings: ContentSettings;
  readonly limits: {
    /** Uploads a user announces. */
    readonly create: RateLimit;
    /** Bytes that are fetched from other servers for a user. */
    readonly remoteBytes: RateLimit;
  };
  /** The way to other servers; absent on a server that does not federate. */
  readonly remote?: RemoteNeeds | undefined;
}

export interface RemoteNeeds {
  readonly client: Pick<FederationClient, 'open'>;
  /** For addresses that other servers redirect to. */
  readonly http: Pick<GuardedHttp, 'open'>;
}
