import type { Mailer, SubjectName, TemplateVars } from '../../../mail/index.ts';
import type { RoomId, UserId } from '../../../matrix/identifiers.ts';
import type { MembershipReader, PersistedEvent, Timeline, Visibility } from '../../../rooms/types.ts';
import type { OutboxEntry } from '../store/outbox.ts';
import { cleanHtml, htmlOfText } from './mail-html.ts';
import type { RoomNames } from './room-names.ts';

export interface MailContentNeeds {
  readonly names: RoomNames;
  readonly members: Pick<MembershipReader, 'findMember'>;
  readonly timeline: Pick<Timeline, 'page' | 'tokenAt'>;
  readonly visibility: Pick<Visibility, 'filterVisible'>;
  readonly mailer: Pick<Mailer, 'subjectOf'>;
  readonly findDisplayName: (userId: UserId) => string | undefined;
  /** Where links to rooms and events lead. */
  readonly clientBaseUrl: string;
}

/** An event a mail is about. */
export interface MailedEvent {
  readonly entry: OutboxEntry;
  readonly event: PersistedEvent;
}

/** Why a mail is sent now, for its text. Times in ms. */
export interface MailReason {
  readonly roomId: RoomId;
  readonly now: number;
  readonly receivedAt: number;
  readonly delayMs: number;
  readonly lastSentTs: number;
  readonly throttleMs: number;
}

const MATRIX_TO = 'https://matrix.to';
/** Events of a room that are shown in one mail. */
const MAX_SHOWN = 20;
/** Rooms that are. */
const MAX_ROOMS = 20;

interface MessageVars {
  readonly id: string;
  readonly is_historical: boolean;
  readonly [key: string]: unknown;
}

interface NotificationVars {
  readonly link: string;
  readonly ts: number;
  messages: MessageVars[];
}

/** What a mail about missed events says, in the variables that templates for it take. */
export class MailContent {
  readonly #needs: MailContentNeeds;

  constructor(needs: MailContentNeeds) {
    this.#needs = needs;
  }

  /** `mailed`, oldest first, is not empty. */
  build(
    userId: UserId,
    mailed: readonly MailedEvent[],
    reason: MailReason,
    { appName, unsubscribeLink }: { appName: string; unsubscribeLink: string },
  ): { readonly subject: string; readonly vars: TemplateVars } {
    const byRoom = Map.groupBy(mailed, ({ event }) => event.roomId);
    const newest = (roomId: RoomId): number => byRoom.get(roomId)?.at(-1)?.entry.position ?? 0;
    const roomIds = [...byRoom.keys()].sort((one, other) => newest(other) - newest(one));
    const subject =
      byRoom.size === 1
        ? this.#subjectOfRoom(reason.roomId, userId, mailed, appName)
        : this.#subjectOfRooms(reason.roomId, userId, byRoom.get(reason.roomId) ?? mailed, appName);
    const vars = {
      user_display_name: this.#needs.findDisplayName(userId) ?? userId,
      unsubscribe_link: unsubscribeLink,
      summary_text: subject,
      rooms: roomIds.slice(0, MAX_ROOMS).map((roomId) => this.#roomVars(roomId, userId, byRoom.get(roomId) ?? [])),
      reason: {
        room_id: reason.roomId,
        room_name: this.#titleOf(reason.roomId, userId),
        now: reason.now,
        received_at: reason.receivedAt,
        delay_before_mail_ms: reason.delayMs,
        last_sent_ts: reason.lastSentTs,
        throttle_ms: reason.throttleMs,
      },
    };
    return { subject, vars };
  }

  #roomVars(roomId: RoomId, userId: UserId, mailed: readonly MailedEvent[]): Readonly<Record<string, unknown>> {
    const isInvite = mailed.some(({ event }) => isInviteOf(event, userId));
    const avatar = this.#needs.names.content(roomId, 'm.room.avatar', '', userId)?.['url'];
    return {
      title: this.#titleOf(roomId, userId),
      hash: sumOf(roomId),
      invite: isInvite,
      notifs: isInvite ? [] : this.#notifications(userId, mailed.slice(-MAX_SHOWN)),
      link: this.#link(roomId),
      avatar_url: typeof avatar === 'string' ? avatar : null,
    };
  }

  /** Each event with the one before it; what overlaps is shown as one. */
  #notifications(userId: UserId, mailed: readonly MailedEvent[]): NotificationVars[] {
    const notifications: NotificationVars[] = [];
    for (const { entry, event } of mailed) {
      const before = this.#before(userId, event);
      const messages = [...before, event].flatMap((each) => this.#messageVars(userId, each, each !== event));
      const last = notifications.at(-1);
      if (last !== undefined && messages.some(({ id }) => last.messages.some((known) => known.id === id))) {
        last.messages = join(last.messages, messages);
      } else {
        notifications.push({ link: this.#link(event.roomId, event.eventId), ts: entry.ts, messages });
      }
    }
    return notifications;
  }

  #before(userId: UserId, event: PersistedEvent): PersistedEvent[] {
    const { timeline, visibility } = this.#needs;
    if (event.outlier) return [];
    const from = timeline.tokenAt(event, 'before');
    const { events } = timeline.page({ roomId: event.roomId, from, direction: 'b', limit: 1 });
    return visibility.filterVisible(userId, events);
  }

  #messageVars(userId: UserId, event: PersistedEvent, isHistorical: boolean): MessageVars[] {
    const { type, roomId, sender, content } = event;
    if ((type !== 'm.room.message' && type !== 'm.room.encrypted') || event.redactedBy !== undefined) return [];
    const common = {
      event_type: type,
      is_historical: isHistorical,
      id: event.eventId,
      ts: event.originServerTs,
      sender_name: this.#nameOf(roomId, sender, userId),
      sender_avatar_url: this.#needs.members.findMember(roomId, sender)?.avatarUrl ?? null,
      sender_hash: sumOf(sender),
    };
    if (type === 'm.room.encrypted') return [common];
    const { msgtype, body, url, format, formatted_body: formatted } = content;
    const kind = typeof msgtype === 'string' ? msgtype : undefined;
    const isHtml = format === 'org.matrix.custom.html' && typeof formatted === 'string';
    const html = isHtml ? cleanHtml(formatted) : htmlOfText(typeof body === 'string' ? body : '');
    return [
      {
        ...common,
        msgtype: kind ?? null,
        ...(typeof body === 'string' ? { body_text_plain: body } : {}),
        // Notices and emotes read like text; what stands beside a file is its name.
        ...(['m.text', 'm.notice', 'm.emote'].includes(kind ?? '') ? { body_text_html: html } : {}),
        ...(kind === 'm.image' && typeof url === 'string' ? { image_url: url } : {}),
      },
    ];
  }

  #subjectOfRoom(roomId: RoomId, userId: UserId, mailed: readonly MailedEvent[], appName: string): string {
    const { names } = this.#needs;
    const say = (name: SubjectName, values: Readonly<Record<string, string>>): string =>
      this.#needs.mailer.subjectOf(name, values, appName);
    const room = this.#givenOrAlias(roomId, userId);
    const invite = mailed.find(({ event }) => isInviteOf(event, userId))?.event;
    if (invite !== undefined) {
      const person = this.#nameOf(roomId, invite.sender, userId);
      if (room === undefined) return say('invite_from_person', { person });
      const isSpace = names.content(roomId, 'm.room.create', '', userId)?.['type'] === 'm.space';
      return isSpace
        ? say('invite_from_person_to_space', { person, space: room })
        : say('invite_from_person_to_room', { person, room });
    }
    const [first] = mailed;
    if (mailed.length === 1 && first !== undefined) {
      const person = this.#nameOf(roomId, first.event.sender, userId);
      return room === undefined
        ? say('message_from_person', { person })
        : say('message_from_person_in_room', { person, room });
    }
    return room === undefined
      ? this.#subjectOfPeople(roomId, userId, mailed, appName)
      : say('messages_in_room', { room });
  }

  #subjectOfRooms(roomId: RoomId, userId: UserId, mailed: readonly MailedEvent[], appName: string): string {
    const room = this.#givenOrAlias(roomId, userId) ?? this.#needs.names.byMembers(roomId, userId);
    if (room === undefined) return this.#subjectOfPeople(roomId, userId, mailed, appName);
    return this.#needs.mailer.subjectOf('messages_in_room_and_others', { room }, appName);
  }

  #subjectOfPeople(roomId: RoomId, userId: UserId, mailed: readonly MailedEvent[], appName: string): string {
    const senders = [...new Set(mailed.map(({ event }) => event.sender))];
    const [first = userId] = senders;
    const name = senders.length > 1 ? 'messages_from_person_and_others' : 'messages_from_person';
    return this.#needs.mailer.subjectOf(name, { person: this.#nameOf(roomId, first, userId) }, appName);
  }

  #titleOf(roomId: RoomId, userId: UserId): string {
    return this.#givenOrAlias(roomId, userId) ?? this.#needs.names.byMembers(roomId, userId) ?? 'A room without a name';
  }

  #givenOrAlias(roomId: RoomId, userId: UserId): string | undefined {
    return this.#needs.names.given(roomId, userId) ?? this.#needs.names.alias(roomId, userId);
  }

  #nameOf(roomId: RoomId, of: UserId, viewer: UserId): string {
    return this.#needs.names.member(roomId, of, viewer) ?? of;
  }

  #link(...ids: readonly string[]): string {
    const base = this.#needs.clientBaseUrl.replace(/\/+$/, '');
    const path = ids.map(encodeURIComponent).join('/');
    return base === MATRIX_TO ? `${base}/#/${path}` : `${base}/#/room/${path}`;
  }
}

function isInviteOf({ type, stateKey, content }: PersistedEvent, userId: UserId): boolean {
  return type === 'm.room.member' && stateKey === userId && content['membership'] === 'invite';
}

/** Two runs of messages as one: a message that is news in either is news. */
function join(earlier: readonly MessageVars[], later: readonly MessageVars[]): MessageVars[] {
  const joined = new Map(earlier.map((message) => [message.id, message]));
  for (const message of later) {
    if (!message.is_historical || !joined.has(message.id)) joined.set(message.id, message);
  }
  return [...joined.values()];
}

/** A number to pick one of several standard pictures by, always the same one for the same ID. */
function sumOf(id: string): number {
  let sum = 0;
  for (let i = 0; i < id.length; i += 1) sum += id.charCodeAt(i);
  return sum;
}
