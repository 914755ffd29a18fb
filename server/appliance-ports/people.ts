import { setImmediate } from 'node:timers/promises';
import type { Person, PersonKind } from '../appliance/contract.ts';
import type { PeoplePort } from '../appliance/people/port.ts';
import type { Composition } from '../compose.ts';
import { forbidden, notFound } from '../matrix/errors.ts';
import type { UserId } from '../matrix/identifiers.ts';
import type { Database } from '../storage/types.ts';

type Account = NonNullable<ReturnType<Composition['accounts']['lookup']['find']>>;

type Filter = NonNullable<Parameters<Composition['accounts']['lookup']['list']>[0]>;

const KINDS: Readonly<Record<PersonKind, Filter>> = {
  person: { kind: 'user', ofService: false },
  guest: { kind: 'guest' },
  bridged: { kind: 'user', ofService: true },
};
const PIECE = 200;

/** However capitals and accents were typed: `é` has two spellings that look the same. */
function plain(text: string): string {
  return text.normalize('NFKC').toLowerCase();
}

export function peoplePort(
  parts: Pick<Composition, 'accounts' | 'profiles' | 'devices' | 'media' | 'rooms'> & { readonly db: Database },
): PeoplePort {
  const { accounts, profiles, devices, media, rooms, db } = parts;
  const { lookup, administration } = accounts;

  function get(userId: UserId): Account {
    const account = lookup.find(userId);
    if (account === undefined) throw notFound('There is no such user here');
    return account;
  }

  /** Somebody has to be left who can put things right. */
  function checkNotLast(account: Account, what: string): void {
    if (!lookup.isLastAdministrator(account.userId)) return;
    throw forbidden(`${account.userId} is the only administrator, and cannot be ${what}: make somebody else one first`);
  }

  /** A bridge brings thousands: names are looked through in pieces, between which others have their turn. */
  async function find(
    filter: Filter,
    wanted: string,
    { from, limit }: { from: number; limit: number },
  ): Promise<{ page: readonly Account[]; total: number }> {
    if (wanted === '') return { page: lookup.list({ ...filter, limit, offset: from }), total: lookup.count(filter) };
    const page: Account[] = [];
    let total = 0;
    let after: UserId | undefined;
    for (;;) {
      const piece = lookup.list({ ...filter, after, limit: PIECE });
      for (const account of piece) {
        const names = [account.userId, profiles.find(account.userId)?.displayName ?? ''];
        if (!names.some((name) => plain(name).includes(wanted))) continue;
        if (total >= from && page.length < limit) page.push(account);
        total += 1;
      }
      after = piece.at(-1)?.userId;
      if (piece.length < PIECE) return { page, total };
      await setImmediate();
    }
  }

  function describe(account: Account): Person {
    const { userId } = account;
    const face = profiles.find(userId);
    const own = devices.list(userId);
    const lastSeen = Math.max(0, ...own.map(({ lastSeenMs }) => lastSeenMs ?? 0));
    return {
      userId,
      ...(face?.displayName === undefined ? {} : { displayName: face.displayName }),
      ...(face?.avatarUrl === undefined ? {} : { avatar: face.avatarUrl }),
      isAdmin: account.isAdmin,
      isLocked: account.locked,
      isDeactivated: account.deactivated,
      isGuest: account.kind === 'guest',
      ...(account.appserviceId === undefined ? {} : { appservice: account.appserviceId }),
      createdAt: account.createdMs,
      ...(lastSeen === 0 ? {} : { lastSeenAt: lastSeen }),
      devices: own.length,
      mediaBytes: media?.listOfUser(userId, { limit: 0, offset: 0 }).bytes ?? 0,
    };
  }

  return {
    list: async ({ kind, search = '', deactivated, from, limit }) => {
      const filter = { ...KINDS[kind], deactivated };
      const found = await find(filter, plain(search.trim()), { from, limit });
      const next = from + found.page.length;
      const count = (of: PersonKind): number => lookup.count({ ...KINDS[of], deactivated: false });
      return {
        people: found.page.map(describe),
        total: found.total,
        ...(next < found.total ? { next } : {}),
        counts: { person: count('person'), guest: count('guest'), bridged: count('bridged') },
      };
    },
    get: (userId) => {
      const account = get(userId);
      return {
        ...describe(account),
        rooms: rooms.members.listRoomsOf(userId, ['join']).length,
        devicesList: devices
          .list(userId)
          .map(({ deviceId, displayName, lastSeenMs, lastSeenIp, lastSeenUserAgent }) => ({
            deviceId,
            ...(displayName === undefined ? {} : { name: displayName }),
            ...(lastSeenMs === undefined ? {} : { lastSeenAt: lastSeenMs }),
            ...(lastSeenIp === undefined ? {} : { lastSeenIp }),
            ...(lastSeenUserAgent === undefined ? {} : { userAgent: lastSeenUserAgent }),
          })),
      };
    },
    setPassword: async (userId, password, signOut) => {
      const account = get(userId);
      if (account.deactivated) throw forbidden('This account is closed');
      if (account.kind === 'guest' || account.appserviceId !== undefined) {
        throw forbidden('This account has no password');
      }
      accounts.checkNewPassword(password);
      await administration.setPassword(userId, password, { logOutDevices: signOut });
      await db.committed();
    },
    deactivate: async (userId, erase) => {
      checkNotLast(get(userId), 'deactivated');
      administration.deactivate(userId, { erase });
      await db.committed();
    },
    setAdmin: async (userId, admin) => {
      const account = get(userId);
      if (
        admin &&
        (account.deactivated || account.locked || account.kind === 'guest' || account.appserviceId !== undefined)
      ) {
        throw forbidden('Only somebody with an account that works can be an administrator');
      }
      if (!admin) checkNotLast(account, 'made an ordinary user');
      administration.setAdmin(userId, admin);
      await db.committed();
    },
    setLocked: async (userId, locked) => {
      const account = get(userId);
      if (account.deactivated) throw forbidden('This account is closed');
      if (locked) checkNotLast(account, 'locked');
      administration.setLocked(userId, locked);
      await db.committed();
    },
    removeDevice: async (userId, deviceId) => {
      get(userId);
      if (!devices.exists(userId, deviceId)) throw notFound('There is no such device');
      db.write((tx) => devices.remove(tx, userId, [deviceId]));
      await db.committed();
    },
  };
}
