import type { Mailer } from '../../mail/index.ts';
import type { GuardedHttp } from '../../federation/outbound/guarded-http.ts';
import type { RateLimit } from '../../http/rate-limit.ts';
import type { DeviceId, RoomId, UserId } from '../../matrix/identifiers.ts';
import type { Module } from '../../module.ts';
import type { MembershipReader, Timeline } from '../../rooms/types.ts';
import type { Database, WriteTx } from '../../storage/types.ts';
import { RoomSummaries } from '../../sync/summary.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import type { Random } from '../../util/random.ts';
import { notificationRoutes, type NotificationRouteNeeds } from './routes/notifications.ts';
import { pusherRoutes } from './routes/pushers.ts';
import { pushPurge } from './purge.ts';
import { ruleRoutes } from './routes/rules.ts';
import { unsubscribeRoutes } from './routes/unsubscribe.ts';
import { unreadCounter } from './service/badge.ts';
import { Clearing } from './service/clearing.ts';
import { type CountingNeeds, type ReadReceipt, UnreadCounting } from './service/counting.ts';
import { Dispatcher, gatewayGates } from './service/dispatcher.ts';
import { HttpPusher } from './service/http-pusher.ts';
import { MailContent } from './service/mail-content.ts';
import { IdlePusher, MailPusher } from './service/mail-pusher.ts';
import { type MailAddresses, type Pushers, pushers as createPushers } from './service/pushers.ts';
import { roomNames, type RoomNames } from './service/room-names.ts';
import { pushRules } from './service/rules.ts';
import { Rulesets } from './service/rulesets.ts';
import { unsubscribeLinks } from './service/unsubscribe.ts';
import { ClearingStore } from './store/clearing.ts';
import { GivenUpStore } from './store/given-up.ts';
import { MailThrottleStore } from './store/mail-throttles.ts';
import { OutboxStore } from './store/outbox.ts';
import { PusherStore } from './store/pushers.ts';
import { PushRuleStore } from './store/rules.ts';
import { UnreadStore } from './store/unread.ts';
import { pushRulesContribution, unreadContribution } from './sync.ts';

export { migrations } from './schema.ts';
export type { ReadReceipt } from './service/counting.ts';

/** What an administrator decides about notifications. */
export interface PushSettings {
  /** Whether anything is counted and told at all; rules and pushers can be kept and read in any case. */
  readonly enabled: boolean;
  /** Whether gateways are told what an event says. */
  readonly includeContent: boolean;
  /** Whether an app's number is that of rooms with something unread, not of all that is. */
  readonly countRooms: boolean;
  /** The longest time (ms) a notification is held back, at random. */
  readonly jitterMs: number;
}

/** What it takes to mail users what they missed. */
export interface PushMail {
  readonly mailer: Pick<Mailer, 'send' | 'subjectOf' | 'appName'>;
  readonly addresses: MailAddresses;
  readonly timeline: Pick<Timeline, 'page' | 'tokenAt'>;
  readonly findDisplayName: (userId: UserId) => string | undefined;
  readonly settings: {
    /** Whether new users who gave an address get such mails. */
    readonly forNewUsers: boolean;
    /** How long (ms) somebody has to see an event by themselves before. */
    readonly delayMs: number;
    /** Where links to rooms lead, and where this server is found. */
    readonly clientBaseUrl: string;
    readonly publicBaseUrl: string;
  };
}

export interface PushNeeds extends CountingNeeds, NotificationRouteNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly events: CountingNeeds['events'] & NotificationRouteNeeds['events'];
  readonly state: CountingNeeds['state'] & ConstructorParameters<typeof RoomSummaries>[0]['state'];
  readonly members: CountingNeeds['members'] &
    Pick<MembershipReader, 'listMembers' | 'listRoomsOf' | 'listStrippedState'>;
  readonly visibility: CountingNeeds['visibility'] & NotificationRouteNeeds['visibility'];
  /** The way to push gateways. */
  readonly http: Pick<GuardedHttp, 'post'>;
  /** Undefined where this server sends no mail about events. */
  readonly mail?: PushMail | undefined;
  /** How often a user may set pushers. */
  readonly limit?: RateLimit;
  readonly settings: PushSettings;
}

/** Push rules, what they find unread, and who is told of it (spec: client-server API, "Push Notifications"). */
export function push(needs: PushNeeds): Module & {
  /** To be called in the write that stores a receipt of a local user. */
  readonly onRead: (tx: WriteTx, receipt: ReadReceipt) => void;
  /** To be called when a device goes: its pushers go with it. */
  readonly onDeviceDeleted: (tx: WriteTx, userId: UserId, deviceId: DeviceId) => void;
  readonly pushers: Pick<Pushers, 'list'>;
  /** To be called in the write that makes an account for somebody who gave this address. */
  readonly onMailRegistered: (tx: WriteTx, userId: UserId, address: string) => void;
  /** To be called when an address is no longer the user's: no mail goes there any more. */
  readonly onMailRemoved: (tx: WriteTx, userId: UserId, address: string) => void;
  /** Sets for a room that replaces another what a user set for that. */
  readonly copyRoomRules: (tx: WriteTx, userId: UserId, from: RoomId, to: RoomId) => void;
  readonly removeOfUser: (tx: WriteTx, userId: UserId) => void;
} {
  const { db, clock, random, log, events, state, members, http, settings } = needs;
  const ruleStore = new PushRuleStore(db);
  const unreadStore = new UnreadStore(db);
  const outbox = new OutboxStore(db);
  const pusherStore = new PusherStore(db);
  const rulesets = new Rulesets(ruleStore, { followsThreads: needs.followed !== undefined });
  const rules = pushRules({ db, store: ruleStore, rulesets });

  const summaries = new RoomSummaries({ db, members, events, state });
  const names = roomNames({ state, members, heroes: (roomId, viewer) => summaries.heroes(roomId, viewer) });
  const countUnread = unreadCounter({ store: unreadStore, members, countRooms: settings.countRooms });
  const telling = { db, clock, random, log, store: pusherStore, outbox, events, names, settings };
  const gateOf = gatewayGates();
  const mailing = needs.mail === undefined ? undefined : mailParts(needs, needs.mail, names);
  const dispatcher = new Dispatcher({
    clock,
    random,
    log,
    store: pusherStore,
    isSilenced: needs.isSilenced ?? (() => false),
    taskOf: ({ nid, kind }) => {
      if (kind === 'http') return new HttpPusher(nid, { ...telling, http, gateOf, countUnread });
      return mailing === undefined ? new IdlePusher(nid, telling) : new MailPusher(nid, { ...telling, ...mailing });
    },
  });
  const pushers = createPushers({
    db,
    clock,
    store: pusherStore,
    outbox,
    mail: needs.mail?.addresses,
    countUnread,
    changed: (pusher) => dispatcher.changed(pusher),
  });
  const clearing = new Clearing({ ...needs, store: new ClearingStore(db), givenUp: new GivenUpStore(db) });
  const counting = new UnreadCounting({ ...needs, store: unreadStore, outbox, rulesets, told: dispatcher, clearing });
  return {
    name: 'push',
    routes: [
      ...ruleRoutes(rules),
      ...notificationRoutes({ ...needs, store: unreadStore }),
      ...pusherRoutes({ pushers, limit: needs.limit }),
      ...(mailing === undefined ? [] : unsubscribeRoutes({ db, links: mailing.links, pushers })),
    ],
    projections: settings.enabled ? [counting] : [],
    purge: pushPurge(db),
    sync: [pushRulesContribution({ rules, store: ruleStore }), unreadContribution({ store: unreadStore })],
    start: () => {
      clearing.start();
      if (settings.enabled) dispatcher.start();
    },
    stop: async () => {
      await clearing.stop();
      await dispatcher.stop();
    },
    wake: () => dispatcher.retryNow(),
    onRead: (tx, receipt) => counting.read(tx, receipt),
    onDeviceDeleted: (tx, userId, deviceId) => pushers.removeOfDevice(tx, userId, deviceId),
    pushers,
    onMailRegistered: (tx, userId, address) => {
      if (needs.mail?.settings.forNewUsers === true) pushers.insertMail(tx, userId, address);
    },
    onMailRemoved: (tx, userId, address) => pushers.removeMail(tx, userId, address),
    copyRoomRules: (tx, userId, from, to) => rules.copyRoomRules(tx, userId, from, to),
    removeOfUser: (tx, userId) => {
      rules.removeAll(tx, userId);
      unreadStore.removeUser(tx, userId);
      pushers.removeOfUser(tx, userId);
    },
  };
}

/** What pushers that send mail need besides what all need. */
function mailParts({ db, random, members, visibility }: PushNeeds, mail: PushMail, names: RoomNames) {
  const { mailer, addresses, timeline, findDisplayName, settings } = mail;
  const { clientBaseUrl, publicBaseUrl, delayMs } = settings;
  const throttles = new MailThrottleStore(db);
  const content = new MailContent({
    names,
    members,
    timeline,
    visibility,
    mailer,
    findDisplayName,
    clientBaseUrl,
  });
  const links = unsubscribeLinks({ db, random, store: throttles, publicBaseUrl });
  return { mailer, addresses, throttles, content, links, delayMs };
}
