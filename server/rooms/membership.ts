import { LRUCache } from 'lru-cache';
import {
  type EventId,
  isEventId,
  isRoomId,
  isUserId,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from '../matrix/identifiers.ts';
import { isJsonObject, type JsonObject } from '../matrix/json.ts';
import type {
  Database,
  ReadStatement,
  ReturningStatement,
  StreamPosition,
  WriteStatement,
  WriteTx,
} from '../storage/types.ts';
import type { EventStore, StoredEvent } from './event-store.ts';
import type { RoomHeads } from './extremities.ts';
import type {
  MemberLists,
  Membership,
  MembershipReader,
  MembershipWriter,
  RoomMember,
  SharingReader,
} from './types.ts';
import { atMost } from '../util/lru.ts';

/** A member with what only the rooms look at. */
export interface StoredMember extends RoomMember {
  /** Where the newest stay in the room began, whether it has ended or not. */
  readonly joinedPosition: number | undefined;
}

interface MemberRow {
  room_id: string;
  user_id: string;
  membership: number;
  event_id: string;
  sender: string;
  position: number;
  joined_position: number | null;
  display_name: string | null;
  avatar_url: string | null;
  forgotten: number;
}

interface ChangeRow {
  room_nid: number;
  position: number;
  before: number | null;
  after: number;
  event_nid: number;
}

/** Who is joined to a room; kept for rooms that are asked about. */
interface Crowd {
  /** Joined users by server. */
  readonly servers: Map<ServerName, number>;
  readonly localJoined: Set<UserId>;
}

/** How memberships are written in the database. */
export const MEMBERSHIP_CODES: Readonly<Record<Membership, number>> = {
  join: 1,
  invite: 2,
  knock: 3,
  leave: 4,
  ban: 5,
};
const CODES = MEMBERSHIP_CODES;
const MEMBERSHIPS = new Map<number, Membership>([
  [1, 'join'],
  [2, 'invite'],
  [3, 'knock'],
  [4, 'leave'],
  [5, 'ban'],
]);
const JOIN = CODES.join;
const MEMBERS_KEPT = 20_000;
const CROWDS_KEPT = 1_000;

/** Whether text names a membership. */
export function isMembership(text: unknown): text is Membership {
  return typeof text === 'string' && Object.hasOwn(CODES, text);
}

/** The membership an m.room.member event gives; `leave` for what no rule would have let pass. */
export function membershipOf(event: { readonly content: JsonObject }): Membership {
  const membership = event.content['membership'];
  return isMembership(membership) ? membership : 'leave';
}

/** A change of one user's place in one room, as the current state has it. */
export interface MemberChange {
  readonly userId: UserId;
  /** The event that now holds the user's place; the one that held it, if it is gone. */
  readonly event: StoredEvent;
  /** The key is no longer part of the state. */
  readonly isGone: boolean;
  /** What an invited or knocking user is shown of the room. */
  readonly strippedState: readonly JsonObject[] | undefined;
}

/** The members of all rooms by their current state, and how they came to be so. */
export class Members implements MembershipReader, MembershipWriter, SharingReader, MemberLists {
  readonly #serverName: ServerName;
  readonly #heads: RoomHeads;
  readonly #events: EventStore;
  readonly #members = new LRUCache<string, StoredMember>(atMost(MEMBERS_KEPT));
  readonly #counts = new LRUCache<number, Map<Membership, number>>(atMost(CROWDS_KEPT));
  readonly #crowds = new LRUCache<number, Crowd>(atMost(CROWDS_KEPT));

  readonly #find: ReadStatement<MemberRow>;
  readonly #listOfRoom: ReadStatement<MemberRow>;
  readonly #listOfRoomWith: ReadStatement<MemberRow>;
  readonly #listSome: ReadStatement<MemberRow>;
  readonly #listOfUser: ReadStatement<MemberRow>;
  readonly #listMutual: ReadStatement<{ room_id: string }>;
  readonly #listSharing: ReadStatement<{ user_id: string }>;
  readonly #listCounts: ReadStatement<{ membership: number; members: number }>;
  readonly #listJoined: ReadStatement<{ user_id: string }>;
  readonly #listOfServer: ReadStatement<{ user_id: string }>;
  readonly #listChanges: ReadStatement<ChangeRow>;
  readonly #findChange: ReadStatement<ChangeRow>;
  readonly #findStripped: ReadStatement<{ stripped_state: string | null }>;
  readonly #put: WriteStatement;
  readonly #insertChange: WriteStatement;
  readonly #clearProfile: ReturningStatement<{ user_id: string }>;
  readonly #forget: WriteStatement;
  readonly #removeOfRoom: WriteStatement;
  readonly #removeMember: WriteStatement;
  readonly #removeChanges: ReturningStatement<{ event_nid: number }>;

  constructor({
    db,
    serverName,
    heads,
    events,
  }: { db: Database; serverName: ServerName; heads: RoomHeads; events: EventStore }) {
    this.#serverName = serverName;
    this.#heads = heads;
    this.#events = events;
    const select = `
      SELECT room_id, user_id, membership, event_id, sender, room_members.position, joined_position, display_name,
        avatar_url, forgotten
      FROM room_members JOIN rooms USING (room_nid) JOIN events USING (event_nid)`;
    this.#find = db.prepareRead(`${select} WHERE rooms.room_id = ? AND user_id = ?`);
    this.#listOfRoom = db.prepareRead(`${select} WHERE rooms.room_id = ?`);
    this.#listOfRoomWith = db.prepareRead(`${select} WHERE rooms.room_id = ? AND membership = ?`);
    this.#listSome = db.prepareRead(`${select} WHERE rooms.room_id = ? AND membership = ? LIMIT ?`);
    this.#listOfUser = db.prepareRead(`${select} WHERE user_id = ? AND membership = ? AND forgotten = 0`);
    this.#listMutual = db.prepareRead(`
      SELECT room_id FROM room_members AS a JOIN room_members AS b USING (room_nid) JOIN rooms USING (room_nid)
      WHERE a.user_id = ? AND a.membership = ${JOIN} AND b.user_id = ? AND b.membership = ${JOIN} LIMIT ?`);
    this.#listSharing = db.prepareRead(`
      SELECT DISTINCT b.user_id FROM room_members AS a JOIN room_members AS b USING (room_nid)
      WHERE a.user_id = ? AND a.membership = ${JOIN} AND b.membership = ${JOIN}`);
    this.#listCounts = db.prepareRead(`
      SELECT membership, count(*) AS members FROM room_members WHERE room_nid = ? GROUP BY membership`);
    this.#listJoined = db.prepareRead(`
      SELECT user_id FROM room_members WHERE room_nid = ? AND membership = ${JOIN}`);
    this.#listOfServer = db.prepareRead(`
      SELECT user_id FROM room_members JOIN rooms USING (room_nid)
      WHERE rooms.room_id = ? AND substr(user_id, instr(user_id, ':') + 1) = ? ORDER BY membership`);
    const change = 'SELECT room_nid, position, before, after, event_nid FROM membership_changes';
    this.#listChanges = db.prepareRead(
      `${change} WHERE user_id = ? AND position > ? AND position <= ? ORDER BY position`,
    );
    this.#findChange = db.prepareRead(`
      ${change} WHERE user_id = ? AND room_nid = ? AND position <= ? ORDER BY position DESC LIMIT 1`);
    this.#findStripped = db.prepareRead(`
      SELECT stripped_state FROM room_members JOIN rooms USING (room_nid) WHERE room_id = ? AND user_id = ?`);
    this.#put = db.prepareWrite(`
      INSERT INTO room_members (room_nid, user_id, membership, event_nid, sender, position, joined_position,
        display_name, avatar_url, forgotten, stripped_state)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET membership = excluded.membership, event_nid = excluded.event_nid,
        sender = excluded.sender, position = excluded.position, joined_position = excluded.joined_position,
        display_name = excluded.display_name, avatar_url = excluded.avatar_url, forgotten = excluded.forgotten,
        stripped_state = excluded.stripped_state`);
    this.#insertChange = db.prepareWrite(`
      INSERT INTO membership_changes (user_id, position, room_nid, before, after, event_nid) VALUES (?, ?, ?, ?, ?, ?)`);
    this.#clearProfile = db.prepareReturning(`
      UPDATE room_members SET display_name = NULL, avatar_url = NULL
      WHERE room_nid = ? AND user_id = ? AND event_nid = ? RETURNING user_id`);
    this.#forget = db.prepareWrite('UPDATE room_members SET forgotten = 1 WHERE room_nid = ? AND user_id = ?');
    this.#removeOfRoom = db.prepareWrite('DELETE FROM room_members WHERE room_nid = ?');
    this.#removeMember = db.prepareWrite('DELETE FROM room_members WHERE room_nid = ? AND user_id = ?');
    this.#removeChanges = db.prepareReturning(
      'DELETE FROM membership_changes WHERE user_id = ? AND room_nid = ? RETURNING event_nid',
    );
  }

  findMember(roomId: RoomId, userId: UserId): StoredMember | undefined {
    const key = keyOf(roomId, userId);
    const kept = this.#members.get(key);
    if (kept !== undefined) return kept;
    const row = this.#find.find(roomId, userId);
    if (row === undefined) return undefined;
    const member = readMember(row);
    this.#members.set(key, member);
    return member;
  }

  listMembers(roomId: RoomId, membership?: Membership): RoomMember[] {
    const rows =
      membership === undefined ? this.#listOfRoom.list(roomId) : this.#listOfRoomWith.list(roomId, CODES[membership]);
    return rows.map(readMember);
  }

  listSome(roomId: RoomId, membership: Membership, limit: number): RoomMember[] {
    return this.#listSome.list(roomId, CODES[membership], limit).map(readMember);
  }

  listRoomsOf(userId: UserId, memberships: readonly Membership[]): RoomMember[] {
    return [...new Set(memberships)].flatMap((membership) =>
      this.#listOfUser.list(userId, CODES[membership]).map(readMember),
    );
  }

  isJoined(roomId: RoomId, userId: UserId): boolean {
    return this.findMember(roomId, userId)?.membership === 'join';
  }

  countMembers(roomId: RoomId, membership: Membership): number {
    const head = this.#heads.find(roomId);
    if (head === undefined) return 0;
    let counts = this.#counts.get(head.nid);
    if (counts === undefined) {
      counts = new Map();
      for (const row of this.#listCounts.list(head.nid)) {
        const known = MEMBERSHIPS.get(row.membership);
        if (known !== undefined) counts.set(known, row.members);
      }
      this.#counts.set(head.nid, counts);
    }
    return counts.get(membership) ?? 0;
  }

  shareRoom(a: UserId, b: UserId): boolean {
    return this.#listMutual.find(a, b, 1) !== undefined;
  }

  listMutualRooms(a: UserId, b: UserId): RoomId[] {
    return this.#listMutual
      .list(a, b, -1)
      .map((row) => row.room_id)
      .filter(isRoomId);
  }

  listSharingUsers(userId: UserId): UserId[] {
    return this.#listSharing
      .list(userId)
      .map((row) => row.user_id)
      .filter(isUserId);
  }

  listLocalJoined(roomId: RoomId): UserId[] {
    return [...(this.#crowd(roomId)?.localJoined ?? [])];
  }

  listServers(roomId: RoomId): ServerName[] {
    return [...(this.#crowd(roomId)?.servers.keys() ?? [])];
  }

  /** How many users of each server are joined to the room. To be read at once: it changes with the room. */
  countJoined(roomId: RoomId): ReadonlyMap<ServerName, number> {
    return this.#crowd(roomId)?.servers ?? new Map();
  }

  hasSharedSince(userId: UserId, since: StreamPosition): boolean {
    const isSettled = (member: StoredMember | undefined): boolean =>
      member?.membership === 'join' && (member.joinedPosition ?? member.position) <= since;
    return this.#listOfUser
      .list(userId, JOIN)
      .map(readMember)
      .some(
        (member) =>
          isSettled(member) &&
          this.listLocalJoined(member.roomId).some((local) => isSettled(this.findMember(member.roomId, local))),
      );
  }

  /** Whether a user of the server is joined to the room. */
  hasServer(roomId: RoomId, server: ServerName): boolean {
    return this.#crowd(roomId)?.servers.has(server) ?? false;
  }

  /** All users of a server that have or had to do with the room, those who are joined first. */
  listUsersOf(roomId: RoomId, server: ServerName): UserId[] {
    return this.#listOfServer
      .list(roomId, server)
      .map((row) => row.user_id)
      .filter(isUserId);
  }

  listMembershipChanges(
    userId: UserId,
    since: StreamPosition,
    now: StreamPosition,
  ): { roomId: RoomId; before: Membership | undefined; after: RoomMember }[] {
    return this.#listChanges.list(userId, since, now).map((row) => {
      const { roomId } = this.#heads.get(row.room_nid);
      const event = this.#events.getByNid(row.event_nid);
      const current = this.findMember(roomId, userId);
      return {
        roomId,
        before: row.before === null ? undefined : MEMBERSHIPS.get(row.before),
        after: {
          roomId,
          userId,
          membership: MEMBERSHIPS.get(row.after) ?? 'leave',
          eventId: event.eventId,
          sender: event.sender,
          position: row.position as StreamPosition,
          ...profileOf(event.content),
          forgotten: current?.forgotten === true && current.position === row.position,
        },
      };
    });
  }

  membershipAt(
    roomId: RoomId,
    userId: UserId,
    position: StreamPosition,
  ): { membership: Membership; eventId: EventId } | undefined {
    const head = this.#heads.find(roomId);
    const row = head === undefined ? undefined : this.#findChange.find(userId, head.nid, position);
    const membership = row === undefined ? undefined : MEMBERSHIPS.get(row.after);
    if (row === undefined || membership === undefined) return undefined;
    return { membership, eventId: this.#events.eventIdOf(row.event_nid) };
  }

  listStrippedState(roomId: RoomId, userId: UserId): JsonObject[] {
    const text = this.#findStripped.find(roomId, userId)?.stripped_state ?? '[]';
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) ? list.filter(isJsonObject) : [];
  }

  forget(tx: WriteTx, roomId: RoomId, userId: UserId): boolean {
    const member = this.findMember(roomId, userId);
    const head = this.#heads.find(roomId);
    if (member === undefined || head === undefined) return false;
    if (member.membership !== 'leave' && member.membership !== 'ban') return false;
    this.#forget.run(tx, head.nid, userId);
    this.#drop(tx, roomId, userId);
    tx.touch(`user:${userId}`);
    return true;
  }

  /** Whether a user is one of this server's. */
  isLocal(userId: UserId): boolean {
    return serverNameOf(userId) === this.#serverName;
  }

  listLocal(roomId: RoomId): UserId[] {
    return this.listUsersOf(roomId, this.#serverName);
  }

  /** Removes all memberships of a room nobody of this server ever was in. Gives the events that made those of local users. */
  removeOfRoom(tx: WriteTx, room: { nid: number; roomId: RoomId }): StoredEvent[] {
    const nids = new Set<number>();
    for (const { userId } of this.listMembers(room.roomId)) {
      const changes = this.#removeChanges.list(tx, userId, room.nid);
      this.#drop(tx, room.roomId, userId);
      if (!this.isLocal(userId)) continue;
      for (const { event_nid: nid } of changes) nids.add(nid);
      tx.touch(`user:${userId}`);
    }
    this.#removeOfRoom.run(tx, room.nid);
    this.#counts.delete(room.nid);
    this.#crowds.delete(room.nid);
    return [...nids].map((nid) => this.#events.getByNid(nid));
  }

  /** Removes what the users of this server had to do with a room that is removed for good; they are told of nothing. */
  removeLocal(tx: WriteTx, room: { nid: number; roomId: RoomId }): void {
    for (const userId of this.listLocal(room.roomId)) {
      this.#removeChanges.list(tx, userId, room.nid);
      this.#removeMember.run(tx, room.nid, userId);
      this.#drop(tx, room.roomId, userId);
      tx.touch(`user:${userId}`);
    }
    this.forgetRoom(room);
    tx.onRollback(() => this.forgetRoom(room));
  }

  /** What is kept of a room's members is no longer true. */
  forgetRoom({ nid, roomId }: { nid: number; roomId: RoomId }): void {
    this.#counts.delete(nid);
    this.#crowds.delete(nid);
    for (const key of this.#members.keys()) if (key.startsWith(`${roomId}\0`)) this.#members.delete(key);
  }

  /** Takes over what an event did to the memberships of a room. */
  apply(
    tx: WriteTx,
    room: { nid: number; roomId: RoomId },
    position: StreamPosition,
    changes: readonly MemberChange[],
  ): void {
    for (const { userId, event, isGone, strippedState } of changes) {
      const before = this.findMember(room.roomId, userId);
      const membership = isGone ? 'leave' : membershipOf(event);
      const profile = profileOf(isGone ? {} : event.content);
      const isJoining = membership === 'join' && before?.membership !== 'join';
      const staysAway = membership === 'leave' || membership === 'ban';
      this.#put.run(
        tx,
        room.nid,
        userId,
        CODES[membership],
        event.nid,
        event.sender,
        position,
        isJoining ? position : (before?.joinedPosition ?? null),
        profile.displayName ?? null,
        profile.avatarUrl ?? null,
        before?.forgotten === true && staysAway ? 1 : 0,
        strippedState === undefined ? null : JSON.stringify(strippedState),
      );
      const codeBefore = before === undefined ? null : CODES[before.membership];
      this.#insertChange.run(tx, userId, position, room.nid, codeBefore, CODES[membership], event.nid);
      this.#drop(tx, room.roomId, userId);
      this.#recount(tx, room.nid, userId, before?.membership, membership);
      tx.touch(`user:${userId}`);
    }
  }

  /** The event that holds a place in a room was redacted: what it said of the user is gone. */
  clearProfile(tx: WriteTx, room: { nid: number; roomId: RoomId }, event: StoredEvent): void {
    if (event.stateKey === undefined || !isUserId(event.stateKey)) return;
    const [cleared] = this.#clearProfile.list(tx, room.nid, event.stateKey, event.nid);
    if (cleared !== undefined) this.#drop(tx, room.roomId, event.stateKey);
  }

  #drop(tx: WriteTx, roomId: RoomId, userId: UserId): void {
    const key = keyOf(roomId, userId);
    this.#members.delete(key);
    tx.onRollback(() => this.#members.delete(key));
  }

  #crowd(roomId: RoomId): Crowd | undefined {
    const head = this.#heads.find(roomId);
    if (head === undefined) return undefined;
    const kept = this.#crowds.get(head.nid);
    if (kept !== undefined) return kept;
    const crowd: Crowd = { servers: new Map(), localJoined: new Set() };
    for (const { user_id: userId } of this.#listJoined.list(head.nid)) {
      if (isUserId(userId)) this.#admit(crowd, userId, 1);
    }
    this.#crowds.set(head.nid, crowd);
    return crowd;
  }

  #recount(tx: WriteTx, roomNid: number, userId: UserId, before: Membership | undefined, after: Membership): void {
    tx.onRollback(() => {
      this.#counts.delete(roomNid);
      this.#crowds.delete(roomNid);
    });
    if (before === after) return;
    const counts = this.#counts.get(roomNid);
    if (before !== undefined) counts?.set(before, (counts.get(before) ?? 0) - 1);
    counts?.set(after, (counts.get(after) ?? 0) + 1);
    const crowd = this.#crowds.get(roomNid);
    if (crowd === undefined) return;
    if (before === 'join') this.#admit(crowd, userId, -1);
    if (after === 'join') this.#admit(crowd, userId, 1);
  }

  /** Counts a user in (1) or out (-1). */
  #admit({ servers, localJoined }: Crowd, userId: UserId, by: 1 | -1): void {
    const server = serverNameOf(userId);
    const joined = (servers.get(server) ?? 0) + by;
    if (joined > 0) servers.set(server, joined);
    else servers.delete(server);
    if (server !== this.#serverName) return;
    if (by === 1) localJoined.add(userId);
    else localJoined.delete(userId);
  }
}

function keyOf(roomId: RoomId, userId: UserId): string {
  return `${roomId}\0${userId}`;
}

function profileOf(content: JsonObject): { displayName: string | undefined; avatarUrl: string | undefined } {
  const { displayname, avatar_url: avatarUrl } = content;
  return {
    displayName: typeof displayname === 'string' ? displayname : undefined,
    avatarUrl: typeof avatarUrl === 'string' ? avatarUrl : undefined,
  };
}

function readMember(row: MemberRow): StoredMember {
  const { room_id: roomId, user_id: userId, event_id: eventId, sender } = row;
  const membership = MEMBERSHIPS.get(row.membership);
  if (!isRoomId(roomId) || !isUserId(userId) || !isEventId(eventId) || !isUserId(sender) || membership === undefined) {
    throw new Error('a stored membership is damaged');
  }
  return {
    roomId,
    userId,
    membership,
    eventId,
    sender,
    position: row.position as StreamPosition,
    joinedPosition: row.joined_position ?? undefined,
    displayName: row.display_name ?? undefined,
    avatarUrl: row.avatar_url ?? undefined,
    forgotten: row.forgotten !== 0,
  };
}
