import { isUserId, type RoomId, type ServerName, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import { evaluate, preparePushEvent } from '../../../matrix/push-rules/evaluate.ts';
import type { PushAction } from '../../../matrix/push-rules/rules.ts';
import type {
  EventReader,
  MembershipReader,
  PersistedEvent,
  Projection,
  StateDelta,
  Visibility,
} from '../../../rooms/types.ts';
import type { StreamPosition, WriteTx } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import type { OutboxStore } from '../store/outbox.ts';
import type { UnreadStore } from '../store/unread.ts';
import type { Clearing } from './clearing.ts';
import { RoomContext, type RoomContextNeeds } from './room-context.ts';
import type { Rulesets } from './rulesets.ts';

export interface CountingNeeds extends RoomContextNeeds {
  readonly serverName: ServerName;
  readonly clock: Pick<Clock, 'now'>;
  readonly events: Pick<EventReader, 'findEvent'>;
  readonly members: Pick<MembershipReader, 'findMember' | 'countMembers' | 'listLocalJoined'>;
  readonly visibility: Pick<Visibility, 'canSee'>;
  /** The thread an event is in: `main`, or the ID of its root. */
  readonly threads: { threadOfEvent(event: PersistedEvent): string };
  readonly ignoredUsers: (userId: UserId) => ReadonlySet<UserId>;
  /** Whether an invite is kept from the invited user's clients. */
  readonly isInviteHidden?: (inviter: UserId, invitee: UserId) => boolean;
  /** Users that are programs: a bridge has hundreds of them, and none ever asks what it has not read. */
  readonly isProgram?: ((userId: UserId) => boolean) | undefined;
  /** Users nobody is to be told anything, as long as it is so: their accounts have run out or are locked. Nobody, unless told. */
  readonly isSilenced?: ((userId: UserId) => boolean) | undefined;
}

/** How far a user says to have read a room. */
export interface ReadReceipt {
  readonly userId: UserId;
  readonly roomId: RoomId;
  /** `main` or the root of a thread; undefined for all of the room. */
  readonly threadId: string | undefined;
  /** Of the event that was read, in the stream; 0 for history that was fetched later. */
  readonly eventPosition: number;
}

/** Hears, once it is on disk, what is new for the pushers of a user. */
export interface CountListener {
  /** Something stands in the outbox. */
  waiting(userId: UserId): void;
  /** Less is unread than was. */
  lessUnread(userId: UserId): void;
}

/**
 * Counts what each local user has not read (spec: client-server API, "Receiving notifications", "Marking notifications as
 * read"). Runs in the write that stores an event, so that the counts come with it.
 */
export class UnreadCounting implements Projection {
  readonly name = 'push';
  readonly #needs: CountingNeeds;
  readonly #store: UnreadStore;
  readonly #outbox: Pick<OutboxStore, 'insert'>;
  readonly #rulesets: Rulesets;
  readonly #told: CountListener;
  readonly #clearing: Pick<Clearing, 'clearGivenUp'>;

  constructor({
    store,
    outbox,
    rulesets,
    told,
    clearing,
    ...needs
  }: CountingNeeds & {
    store: UnreadStore;
    outbox: Pick<OutboxStore, 'insert'>;
    rulesets: Rulesets;
    told: CountListener;
    clearing: Pick<Clearing, 'clearGivenUp'>;
  }) {
    this.#needs = needs;
    this.#store = store;
    this.#outbox = outbox;
    this.#rulesets = rulesets;
    this.#told = told;
    this.#clearing = clearing;
  }

  project(tx: WriteTx, event: PersistedEvent, effects: Parameters<Projection['project']>[2]): void {
    const { stateDeltas, redacted, live } = effects;
    if (redacted !== undefined) this.#uncount(tx, redacted, event);
    for (const delta of stateDeltas) if (delta.type === 'm.room.member') this.#followMember(tx, event, delta);
    if (!live || event.verdict !== 'accepted' || event.redactedBy !== undefined) return;
    // A redaction whose target is lacking is shown, and comes by here again, when that has arrived.
    const isHeldBack = event.type === 'm.room.redaction' && !event.version.redactionsInAuthRules;
    if (isHeldBack && redacted === undefined) return;
    this.#readByWriting(tx, event);
    const { position, receivedTs: ts } = event;
    this.#count(tx, event, { recipients: this.#listRecipients(event), position, ts });
  }

  /** The user has read this far. */
  read(tx: WriteTx, { userId, roomId, threadId, eventPosition }: ReadReceipt): void {
    const unread =
      threadId === undefined ? this.#store.listRoom(userId, roomId) : [this.#store.find(userId, roomId, threadId)];
    for (const thread of unread) {
      if (thread === undefined || thread.notifications === 0 || thread.readUpTo >= eventPosition) continue;
      const changed = this.#store.setRead(tx, thread, eventPosition, this.#needs.clock.now());
      if (changed) tx.onCommit(() => this.#told.lessUnread(userId));
    }
  }

  /**
   * An invite to a room nobody here is in, or the end of one. Such an event takes no part in a room's history, but the
   * invited want to be told of it like of any other.
   */
  projectOutside(tx: WriteTx, event: PersistedEvent, position: StreamPosition): void {
    const userId = event.stateKey;
    if (!this.#isLocal(userId)) return;
    if (this.#needs.members.findMember(event.roomId, userId)?.membership !== 'invite') {
      this.#forgetRoom(tx, userId, event.roomId);
      return;
    }
    this.#count(tx, event, { recipients: [userId], position, ts: this.#needs.clock.now() });
  }

  #count(
    tx: WriteTx,
    event: PersistedEvent,
    { recipients, position, ts }: { recipients: readonly UserId[]; position: StreamPosition; ts: number },
  ): void {
    const { threads, ignoredUsers, isInviteHidden, isProgram, isSilenced } = this.#needs;
    const { eventId, roomId } = event;
    const pushEvent = preparePushEvent(event);
    const context = new RoomContext(this.#needs, event);
    let threadId: string | undefined;
    for (const userId of recipients) {
      if (userId === event.sender || isProgram?.(userId) === true) continue;
      if (ignoredUsers(userId).has(event.sender)) continue;
      if (isInviteOf(event, userId) && isInviteHidden?.(event.sender, userId) === true) continue;
      context.userId = userId;
      const outcome = evaluate(this.#rulesets.compiledFor(userId, event.roomId), pushEvent, context);
      if (!outcome.notify || !this.#maySee(userId, event)) continue;
      threadId ??= threads.threadOfEvent(event);
      const actions = writeActions(outcome.actions);
      const { highlight } = outcome;
      const count = { userId, roomId, threadId, eventId, position, highlight, actions, ts };
      const unreadNid = this.#store.insert(tx, count);
      // Who is told nothing is not told it later either.
      if (isSilenced?.(userId) === true) continue;
      const hasPushers = this.#outbox.insert(tx, { userId, unreadNid, position, eventId, actions, ts });
      if (hasPushers) tx.onCommit(() => this.#told.waiting(userId));
    }
  }

  /** Local users who are in the room, and the one who is invited by this event. */
  #listRecipients({ roomId, type, stateKey }: PersistedEvent): readonly UserId[] {
    const { members } = this.#needs;
    const joined = members.listLocalJoined(roomId);
    if (type !== 'm.room.member' || !this.#isLocal(stateKey)) return joined;
    return members.findMember(roomId, stateKey)?.membership === 'invite' ? [...joined, stateKey] : joined;
  }

  /** What is sent here stands behind all that is known of the room. Elsewhere it may have been sent before they joined. */
  #maySee(userId: UserId, event: PersistedEvent): boolean {
    const isOwnMembership = event.type === 'm.room.member' && event.stateKey === userId;
    return isOwnMembership || this.#isLocal(event.sender) || this.#needs.visibility.canSee(userId, event);
  }

  /** Whoever says something has read what was said before, in the same thread. State is often set without looking. */
  #readByWriting(tx: WriteTx, event: PersistedEvent): void {
    const { sender: userId, roomId, stateKey, type, position: eventPosition } = event;
    if (stateKey !== undefined || type === 'm.room.redaction' || !this.#isLocal(userId)) return;
    this.read(tx, { userId, roomId, threadId: this.#needs.threads.threadOfEvent(event), eventPosition });
  }

  /** Whoever joins has read the invite; for those who leave, nothing of the room counts any more. */
  #followMember(tx: WriteTx, event: PersistedEvent, { stateKey: userId, before }: StateDelta): void {
    if (!this.#isLocal(userId)) return;
    const { roomId, position: eventPosition } = event;
    const membership = this.#needs.members.findMember(roomId, userId)?.membership;
    if (membership === 'invite') return;
    if (membership !== 'join') {
      this.#forgetRoom(tx, userId, roomId);
    } else if (before === undefined || this.#needs.events.findEvent(before)?.content['membership'] !== 'join') {
      this.read(tx, { userId, roomId, threadId: undefined, eventPosition });
    }
  }

  /** Nobody has to read what was redacted. */
  #uncount(tx: WriteTx, redacted: PersistedEvent, { position, receivedTs }: PersistedEvent): void {
    const { roomId, position: eventPosition } = redacted;
    const threadId = this.#needs.threads.threadOfEvent(redacted);
    for (const userId of this.#listRecipients(redacted)) {
      const unread = this.#store.find(userId, roomId, threadId);
      if (unread === undefined) continue;
      const changed = this.#store.remove(tx, unread, eventPosition, { position, ts: receivedTs });
      if (changed) tx.onCommit(() => this.#told.lessUnread(userId));
    }
  }

  #forgetRoom(tx: WriteTx, userId: UserId, roomId: RoomId): void {
    if (!this.#store.giveUpRoom(tx, userId, roomId)) return;
    tx.onCommit(() => {
      this.#clearing.clearGivenUp();
      this.#told.lessUnread(userId);
    });
  }

  #isLocal(userId: string | undefined): userId is UserId {
    return userId !== undefined && isUserId(userId) && serverNameOf(userId) === this.#needs.serverName;
  }
}

// Users share the actions of the default rules, and every event a rule matches has the same ones.
const written = new WeakMap<readonly PushAction[], string>();

function writeActions(actions: readonly PushAction[]): string {
  const known = written.get(actions);
  if (known !== undefined) return known;
  const text = JSON.stringify(actions);
  written.set(actions, text);
  return text;
}

function isInviteOf({ type, stateKey, content }: PersistedEvent, userId: UserId): boolean {
  return type === 'm.room.member' && stateKey === userId && content['membership'] === 'invite';
}
