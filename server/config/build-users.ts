import { join } from 'node:path';
import type { OptionValues } from './options/all.ts';
import type { Config } from './types.ts';

/** What users get to see of each other, and of their rooms. */
export function buildUsers(v: OptionValues): Pick<Config, 'profiles' | 'presence' | 'userDirectory' | 'sync'> {
  return {
    profiles: {
      // Whether two users share a room can only be asked of users who are known.
      requireAuth: v.require_auth_for_profile_requests || v.limit_profile_requests_to_users_who_share_rooms,
      onlyWithSharedRooms: v.limit_profile_requests_to_users_who_share_rooms,
      includedInInvites: v.include_profile_data_on_invite,
      overFederation: v.allow_profile_lookup_over_federation,
      displayNameChangesAllowed: v.enable_set_displayname,
      avatarChangesAllowed: v.enable_set_avatar_url,
      maxAvatarBytes: v.max_avatar_size ?? undefined,
      avatarMimeTypes: v.allowed_avatar_mimetypes,
    },
    presence: {
      mode: v.presence.enabled === 'untracked' ? 'untracked' : v.presence.enabled ? 'on' : 'off',
      offlineUsersOnSync: v.presence.include_offline_users_on_sync,
      lastActiveGranularityMs: v.presence.last_active_granularity,
      syncOnlineTimeoutMs: v.presence.sync_online_timeout,
      idleTimeoutMs: v.presence.idle_timeout,
      excludedRooms: v.exclude_rooms_from_presence,
    },
    userDirectory: {
      enabled: v.user_directory.enabled,
      searchAllUsers: v.user_directory.search_all_users,
      preferLocalUsers: v.user_directory.prefer_local_users,
      excludeRemoteUsers: v.user_directory.exclude_remote_users,
      showLockedUsers: v.user_directory.show_locked_users,
    },
    sync: {
      filterTimelineLimit: v.filter_timeline_limit === -1 ? undefined : v.filter_timeline_limit,
      responseCacheMs: v.caches.sync_response_cache_duration,
    },
  };
}

/** Where media are kept, and how many. */
export function buildMedia(v: OptionValues, dataDir: string): Config['media'] {
  return {
    enabled: v.enable_media_repo,
    storePath: v.media_store_path ?? join(dataDir, 'media'),
    maxUploadBytes: v.max_upload_size,
    maxImagePixels: v.max_image_pixels,
    dynamicThumbnails: v.dynamic_thumbnails,
    thumbnailSizes: v.thumbnail_sizes,
    localLifetimeMs: v.media_retention.local_media_lifetime ?? undefined,
    remoteLifetimeMs: v.media_retention.remote_media_lifetime ?? undefined,
    maxPendingUploads: v.max_pending_media_uploads,
    pendingUploadLifetimeMs: v.unused_expiration_time,
    authenticatedOnly: v.enable_authenticated_media,
    blockedServers: v.prevent_media_downloads_from,
    remoteDownload: {
      bytesPerSecond: v.remote_media_download_per_second,
      burstBytes: v.remote_media_download_burst_count,
    },
    remoteCacheBytes: v.hearth.remote_media_cache_size ?? undefined,
    uploadLimits: v.media_upload_limits.map((limit) => ({
      periodMs: limit.time_period,
      maxBytes: limit.max_size,
      infoUri: limit.msc4335_info_uri,
      canBeRaised: limit.msc4335_soft_limit,
    })),
  };
}
