import type { Edu, EduSender } from '../../../federation/types.ts';
import { isUserId, type RoomId, type ServerName, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { MembershipReader, Projection } from '../../../rooms/types.ts';
import {
  type Database,
  type Follower,
  STREAM_START,
  type StreamPosition,
  type WriteTx,
} from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import { Pace } from '../../../util/pace.ts';
import type { OwnChangeStore, Told } from '../store/own-changes.ts';
import type { CrossSigning } from './cross-signing.ts';
import type { DeviceKeys } from './device-keys.ts';

export interface AnnouncerNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly sender: Pick<EduSender, 'sendDurably'>;
  readonly rooms: Pick<MembershipReader, 'isJoined' | 'listLocalJoined' | 'listServers' | 'membershipAt'> & {
    listRoomIdsOf(userId: UserId): readonly RoomId[];
  };
  readonly devices: { exists(userId: UserId, deviceId: string): boolean };
  readonly store: OwnChangeStore;
  readonly deviceKeys: Pick<DeviceKeys, 'listForServers'>;
  readonly crossSigning: Pick<CrossSigning, 'findForServers'>;
}

/** How long may be told at a stretch, ms: some users are in hundreds of rooms. */
const SLICE_MS = 5;
/** Servers told in one write. */
const SERVERS_PER_WRITE = 100;
/** Changes that one server is told of at once; one that missed more has to ask for the whole list. */
const MAX_UPDATES = 100;

const DEVICE_LIST_UPDATE = 'm.device_list_update';
const SIGNING_KEY_UPDATE = 'm.signing_key_update';

/** One thing to tell of a user. */
interface News {
  readonly position: StreamPosition;
  readonly type: typeof DEVICE_LIST_UPDATE | typeof SIGNING_KEY_UPDATE;
  /** One that is newer takes the place of one that waits. */
  readonly key: string;
  readonly content: JsonObject;
  readonly isDeletion: boolean;
}

/**
 * Tells other servers of the devices of local users (spec: server-server API, "Device Management"): each change goes to
 * all servers that share a room with the user, and who comes to share one is told what it does not know yet.
 */
export function createAnnouncer(needs: AnnouncerNeeds): {
  readonly projection: Projection;
  readonly follower: Follower;
} {
  const { db, clock, serverName, sender, rooms, devices, store, deviceKeys, crossSigning } = needs;

  function listServers(userId: UserId): ServerName[] {
    const servers = new Set(rooms.listRoomIdsOf(userId).flatMap((roomId) => rooms.listServers(roomId)));
    servers.delete(serverName);
    return [...servers];
  }

  /** Everything that ever changed, each thing as it is now, in the order of the changes. */
  function listNews(userId: UserId): News[] {
    const shown = new Map(deviceKeys.listForServers(userId).map((device) => [device.deviceId, device]));
    return store.list(userId, STREAM_START).flatMap(({ change, position }): News[] => {
      if (change === 'cross-signing') {
        const master = crossSigning.findForServers(userId, 'master');
        const selfSigning = crossSigning.findForServers(userId, 'self_signing');
        // There is no way to say that somebody has none any more.
        if (master === undefined && selfSigning === undefined) return [];
        const content = {
          user_id: userId,
          ...(master === undefined ? {} : { master_key: master }),
          ...(selfSigning === undefined ? {} : { self_signing_key: selfSigning }),
        };
        return [{ position, type: SIGNING_KEY_UPDATE, key: userId, content, isDeletion: false }];
      }
      const { device: deviceId } = change;
      const device = shown.get(deviceId);
      const isDeletion = !devices.exists(userId, deviceId);
      const content = {
        user_id: userId,
        device_id: deviceId,
        stream_id: position,
        ...(isDeletion ? { deleted: true } : {}),
        ...(device?.displayName === undefined ? {} : { device_display_name: device.displayName }),
        ...(device === undefined ? {} : { keys: device.keys }),
      };
      return [{ position, type: DEVICE_LIST_UPDATE, key: `${userId}/${deviceId}`, content, isDeletion }];
    });
  }

  /** What a server that was told `told` is to be told now, and what it knows then. */
  function newsFor(
    all: readonly News[],
    told: Told | undefined,
    { hasMet, since }: { readonly hasMet: boolean; readonly since: StreamPosition },
  ): { readonly edus: readonly (Edu & { readonly key: string })[]; readonly told: Told } | undefined {
    // One that knows nothing yet asks for the whole list once it hears of any change: that need not be all of them.
    const from = told?.position ?? (hasMet ? STREAM_START : since);
    const missed = all.filter(({ position }) => position > from);
    const relevant = told === undefined && hasMet ? missed.filter(({ isDeletion }) => !isDeletion) : missed;
    const news = relevant.slice(-MAX_UPDATES);
    const last = missed.at(-1);
    if (last === undefined) return undefined;
    let streamId = news.length < relevant.length ? undefined : told?.streamId;
    const edus = news.map(({ type, key, content, position }) => {
      if (type === SIGNING_KEY_UPDATE) return { type, key, content };
      const prev = streamId;
      streamId = position;
      return { type, key, content: { ...content, prev_id: prev === undefined ? [] : [prev] } };
    });
    return { edus, told: { position: last.position, streamId } };
  }

  function tell(
    tx: WriteTx,
    userId: UserId,
    servers: readonly ServerName[],
    options: { readonly all: readonly News[]; readonly hasMet: boolean; readonly since: StreamPosition },
  ): void {
    // Nearly all know the same, and are told the same.
    const groups = new Map<string, { readonly told: Told | undefined; readonly servers: ServerName[] }>();
    for (const server of servers) {
      const told = store.findTold(userId, server);
      const key = told === undefined ? '' : `${told.position}/${told.streamId}`;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { told, servers: [server] });
      else group.servers.push(server);
    }
    for (const group of groups.values()) {
      const news = newsFor(options.all, group.told, options);
      if (news === undefined) continue;
      for (const { key, type, content } of news.edus) sender.sendDurably(tx, group.servers, { type, content }, key);
      for (const server of group.servers) store.putTold(tx, userId, server, news.told);
    }
  }

  return {
    projection: {
      name: 'device-list-meetings',
      project: (tx, event, { stateDeltas }) => {
        if (event.type !== 'm.room.member' && stateDeltas.length < 2) return;
        const { roomId } = event;
        const before = (event.position - 1) as StreamPosition;
        const hasJoined = (userId: UserId): boolean =>
          rooms.isJoined(roomId, userId) && rooms.membershipAt(roomId, userId, before)?.membership !== 'join';
        const members = new Set<string>();
        for (const { type, stateKey, after } of stateDeltas) {
          if (type === 'm.room.member' && after !== undefined) members.add(stateKey);
        }
        if (members.size === 0) return;
        const present = new Set(rooms.listLocalJoined(roomId));
        for (const userId of present) {
          if (!members.has(userId) || !hasJoined(userId)) continue;
          store.putMeeting(tx, userId);
          present.delete(userId);
        }
        if (present.size === 0) return;
        // A server that was away for a while is told what it missed; one that never was there asks when it wants to know.
        const remote = [...members].filter(isUserId).filter((userId) => !isLocal(userId));
        const arrived = new Set(remote.filter(hasJoined).map(serverNameOf));
        for (const userId of present) {
          const latest = store.latest(userId).position;
          const lags = (server: ServerName): boolean => {
            const told = store.findTold(userId, server);
            return told !== undefined && told.position < latest;
          };
          if ([...arrived].some(lags)) store.putMeeting(tx, userId);
        }
      },
    },
    follower: {
      name: 'device-lists',
      follow: async (since, now, stopping) => {
        const pace = new Pace(clock, SLICE_MS);
        for (const { userId, hasMet } of store.listUsers(since, now)) {
          await pace.step();
          if (stopping.aborted) return undefined;
          const servers = listServers(userId);
          if (servers.length === 0) continue;
          const all = listNews(userId);
          // Somebody without any keys has nothing to say to those they meet.
          const isKnown = all.some(({ content }) => 'keys' in content);
          for (let at = 0; at < servers.length; at += SERVERS_PER_WRITE) {
            const some = servers.slice(at, at + SERVERS_PER_WRITE);
            db.write((tx) => tell(tx, userId, some, { all, hasMet: hasMet && isKnown, since }));
            await pace.step();
            if (stopping.aborted) return undefined;
          }
        }
        return undefined;
      },
    },
  };

  function isLocal(userId: UserId): boolean {
    return serverNameOf(userId) === serverName;
  }
}
