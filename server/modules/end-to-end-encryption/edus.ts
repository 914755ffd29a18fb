import type { EduHandler } from '../../federation/types.ts';
import { forbidden } from '../../matrix/errors.ts';
import type { ServerName, UserId } from '../../matrix/identifiers.ts';
import type { Database } from '../../storage/types.ts';
import { readDeviceUpdate, readSigningKeyUpdate } from './service/read-remote.ts';
import { isServerOf, type RemoteLists } from './service/remote-lists.ts';
import type { Resyncer } from './service/resync.ts';

/** What other servers tell of their users' devices and keys. */
export function encryptionEdus(needs: {
  readonly db: Database;
  readonly lists: RemoteLists;
  readonly resyncer: Resyncer;
}): Readonly<Record<string, EduHandler>> {
  const { db, lists, resyncer } = needs;

  /** Whether to care; forgets users who are of no concern any more, for their server will tell no more of them. */
  function concerns(origin: ServerName, userId: UserId): boolean {
    if (!isServerOf(origin, userId)) throw forbidden('A server speaks for its own users only');
    if (lists.isShared(userId)) return true;
    db.write((tx) => lists.forget(tx, userId));
    return false;
  }

  const signingKeys: EduHandler = {
    accept: (origin, content) => {
      const { userId, ...keys } = readSigningKeyUpdate(content);
      if (!concerns(origin, userId)) return;
      db.write((tx) => {
        if (lists.takeSigningKeys(tx, userId, keys) === 'gap' && !resyncer.outdate(userId))
          resyncer.request(tx, userId);
      });
    },
  };
  return {
    'm.device_list_update': {
      accept: (origin, content) => {
        const update = readDeviceUpdate(content);
        if (!concerns(origin, update.userId) || resyncer.hold(update)) return;
        db.write((tx) => {
          if (lists.take(tx, update) === 'gap') resyncer.request(tx, update.userId, [update.streamId]);
        });
      },
    },
    'm.signing_key_update': signingKeys,
    // As it was called while it was tried out; a well-known server still sends both.
    'org.matrix.signing_key_update': signingKeys,
  };
}
