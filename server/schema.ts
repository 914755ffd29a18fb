/** The tables of all parts. Beside compose.ts, since the database is opened, and migrated, before any part is made. */
import { activityMigrations } from './appliance/status/activity.ts';
import { federationMigrations } from './federation/schema.ts';
import { mailMigrations } from './mail/mail.ts';
import { migrations as accountDataMigrations } from './modules/account-data/index.ts';
import { migrations as validityMigrations } from './modules/account-validity/index.ts';
import { migrations as consentMigrations } from './modules/consent/index.ts';
import { migrations as threepidMigrations } from './modules/third-party-ids/index.ts';
import { migrations as accountsMigrations } from './modules/accounts/index.ts';
import { migrations as appserviceMigrations } from './modules/application-services/index.ts';
import { migrations as mediaMigrations } from './modules/content-repository/index.ts';
import { migrations as delayedEventMigrations } from './modules/delayed-events/index.ts';
import { migrations as deviceMigrations } from './modules/device-management/index.ts';
import { migrations as encryptionMigrations } from './modules/end-to-end-encryption/index.ts';
import { migrations as guestAccessMigrations } from './modules/guest-access/index.ts';
import { migrations as openidMigrations } from './modules/openid/index.ts';
import { migrations as presenceMigrations } from './modules/presence/index.ts';
import { migrations as profileMigrations } from './modules/profiles/index.ts';
import { migrations as pushMigrations } from './modules/push/index.ts';
import { migrations as readMarkerMigrations } from './modules/read-markers/index.ts';
import { migrations as receiptMigrations } from './modules/receipts/index.ts';
import { migrations as relationMigrations } from './modules/relations/index.ts';
import { migrations as reportMigrations } from './modules/report-content/index.ts';
import { migrations as directoryMigrations } from './modules/room-directory/index.ts';
import { migrations as eventMigrations } from './modules/room-events/index.ts';
import { migrations as membershipMigrations } from './modules/room-membership/index.ts';
import { migrations as searchMigrations } from './modules/search/index.ts';
import { migrations as toDeviceMigrations } from './modules/send-to-device/index.ts';
import { migrations as spaceMigrations } from './modules/spaces/index.ts';
import { migrations as tagMigrations } from './modules/tags/index.ts';
import { migrations as threadMigrations } from './modules/threading/index.ts';
import { migrations as previewMigrations } from './modules/url-previews/index.ts';
import { migrations as threadSubscriptionMigrations } from './modules/thread-subscriptions/index.ts';
import { migrations as userDirectoryMigrations } from './modules/user-directory/index.ts';
import { migrations as roomMigrations } from './rooms/rooms.ts';
import { syncMigrations } from './sync/token.ts';
import type { MigrationSet } from './storage/types.ts';

/** Every table of the server, in the order the tables are made. */
export const allMigrations: readonly MigrationSet[] = [
  federationMigrations,
  roomMigrations,
  syncMigrations,
  accountsMigrations,
  deviceMigrations,
  openidMigrations,
  accountDataMigrations,
  tagMigrations,
  reportMigrations,
  toDeviceMigrations,
  encryptionMigrations,
  relationMigrations,
  eventMigrations,
  threadMigrations,
  receiptMigrations,
  readMarkerMigrations,
  pushMigrations,
  membershipMigrations,
  guestAccessMigrations,
  directoryMigrations,
  profileMigrations,
  userDirectoryMigrations,
  presenceMigrations,
  mediaMigrations,
  spaceMigrations,
  mailMigrations,
  threepidMigrations,
  consentMigrations,
  validityMigrations,
  delayedEventMigrations,
  previewMigrations,
  appserviceMigrations,
  threadSubscriptionMigrations,
  searchMigrations,
  activityMigrations,
];
