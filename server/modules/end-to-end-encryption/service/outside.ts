import type { Destinations, EduSender, FederationClient } from '../../../federation/types.ts';
import type { ServerName } from '../../../matrix/identifiers.ts';
import type { Module } from '../../../module.ts';
import type { SharingReader } from '../../../rooms/types.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock, Timer } from '../../../util/clock.ts';
import type { Logger } from '../../../util/log.ts';
import type { Random } from '../../../util/random.ts';
import { encryptionEdus } from '../edus.ts';
import type { CrossSigningStore } from '../store/cross-signing.ts';
import type { OwnChangeStore } from '../store/own-changes.ts';
import { RemoteListStore } from '../store/remote-lists.ts';
import { type AnnouncerNeeds, createAnnouncer } from './announce.ts';
import type { CrossSigning } from './cross-signing.ts';
import type { DeviceKeys } from './device-keys.ts';
import type { DeviceLists } from './device-lists.ts';
import { createRemoteKeys, type RemoteKeys } from './remote-keys.ts';
import { RemoteLists } from './remote-lists.ts';
import { Resyncer } from './resync.ts';

export interface OutsideNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly serverName: ServerName;
  readonly client: Pick<FederationClient, 'request'>;
  readonly sender: Pick<EduSender, 'sendDurably'>;
  readonly destinations: Pick<Destinations, 'onRecovered'>;
  readonly rooms: AnnouncerNeeds['rooms'] & SharingReader;
  readonly devices: AnnouncerNeeds['devices'];
  readonly ownChanges: OwnChangeStore;
  readonly crossSigningStore: CrossSigningStore;
  readonly deviceLists: DeviceLists;
  readonly deviceKeys: DeviceKeys;
  readonly crossSigning: CrossSigning;
}

const SWEEP_EVERY_MS = 24 * 3_600_000;

/** What the module has to do with other servers: their users' keys, and telling them of ours. */
export function createOutside(needs: OutsideNeeds): {
  readonly remote: RemoteKeys;
  readonly parts: Pick<Module, 'edus' | 'projections' | 'followers' | 'start' | 'stop'>;
} {
  const { db, clock, log } = needs;
  const store = new RemoteListStore(db);
  const lists = new RemoteLists({ ...needs, store, crossSigning: needs.crossSigningStore });
  const resyncer = new Resyncer({ ...needs, store, lists });
  const announcer = createAnnouncer({ ...needs, store: needs.ownChanges });

  const stopping = new AbortController();
  let timer: Timer | undefined;
  let sweeping: Promise<void> = Promise.resolve();
  function sweepLater(): void {
    timer = clock.after(SWEEP_EVERY_MS, () => {
      sweeping = lists
        .sweep(stopping.signal)
        .catch((error: unknown) => log.error({ error }, 'device lists that nobody needs were not removed'));
      sweepLater();
    });
  }

  return {
    remote: createRemoteKeys({ ...needs, store, lists, resyncer }),
    parts: {
      edus: encryptionEdus({ db, lists, resyncer }),
      projections: [announcer.projection],
      followers: [announcer.follower],
      start: () => {
        resyncer.start();
        sweepLater();
      },
      stop: async () => {
        timer?.cancel();
        stopping.abort();
        await resyncer.stop();
        await sweeping;
      },
    },
  };
}
