import { LRUCache } from 'lru-cache';
import type { PduSender } from '../federation/types.ts';
import { isUserId, type ServerName, serverNameOf } from '../matrix/identifiers.ts';
import type { Progress } from '../storage/progress.ts';
import type { Database, Follower, ReadStatement, WriteStatement, WriteTx } from '../storage/types.ts';
import type { Clock } from '../util/clock.ts';
import { Pace } from '../util/pace.ts';
import type { EventStore, StoredEvent } from './event-store.ts';
import type { RoomHeads } from './extremities.ts';
import type { Forwarder, ServerAcls } from './federation-types.ts';
import { type Members, membershipOf } from './membership.ts';
import type { StateGroupId, StateGroups } from './state-groups.ts';
import type { PersistedEvent } from './types.ts';

/** Positions of the stream that are looked through at once. */
const WINDOW = 100;
/** How long may be looked for who is to have events at a stretch, ms: after a long stretch, one event alone can take 0.1 ms and more. */
const SLICE_MS = 5;
/** Events that are handed over in one write. */
const EVENTS_PER_WRITE = 500;
/** Names of servers that are kept, over all states. */
const NAMES_KEPT = 200_000;

/** An event and the servers that are to have it. */
interface Order {
  readonly event: StoredEvent;
  readonly servers: readonly ServerName[];
}

interface FanOutParts {
  readonly db: Database;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly heads: RoomHeads;
  readonly events: EventStore;
  readonly groups: StateGroups;
  readonly members: Members;
  /** Hears how far events have been handed over. */
  readonly progress?: Pick<Progress, 'reach'>;
}

/** Brings events out of the house: this server's own, and those that other servers' users sent through it. */
export class FanOut implements Forwarder {
  readonly #parts: FanOutParts;
  readonly #listFresh: ReadStatement<{ event_nid: number }>;
  readonly #insertForwarded: WriteStatement;
  readonly #listForwarded: ReadStatement<{ event_nid: number; position: number }>;
  readonly #removeForwarded: WriteStatement;

  constructor(parts: FanOutParts) {
    const { db } = parts;
    this.#parts = parts;
    this.#listFresh = db.prepareRead(`
      SELECT event_nid FROM events
      WHERE event_nid > ? AND event_nid <= ? AND verdict = 0 AND outlier = 0 AND timeline <> 2 ORDER BY event_nid`);
    this.#insertForwarded = db.prepareWrite(
      'INSERT OR REPLACE INTO forwarded_events (event_nid, position) VALUES (?, ?)',
    );
    this.#listForwarded = db.prepareRead(`
      SELECT event_nid, position FROM forwarded_events WHERE position <= ? ORDER BY position`);
    this.#removeForwarded = db.prepareWrite('DELETE FROM forwarded_events WHERE position <= ?');
  }

  forward(tx: WriteTx, event: PersistedEvent): void {
    const nid = this.#parts.events.findNid(event.eventId);
    if (nid === undefined) throw new Error(`event ${event.eventId} is to be sent on, but is not stored`);
    this.#insertForwarded.run(tx, nid, tx.nextPosition());
  }

  /** Hands events over as they are committed. Which of a room's servers are shut out by its ACLs, `acls` tells. */
  follower({ sender, acls }: { sender: PduSender; acls: Pick<ServerAcls, 'isAllowedBy'> }): Follower {
    const audiences = new Audiences({ ...this.#parts, acls });
    return {
      name: 'fan-out',
      follow: async (since, now, stopping) => {
        const pace = new Pace(this.#parts.clock, SLICE_MS);
        const orders: Order[] = [];
        const forwarded = this.#listForwarded.list(now);
        for (let from: number = since; from < now; ) {
          const to = Math.min(from + WINDOW, now);
          await pace.step();
          if (stopping.aborted) return undefined;
          for (const event of this.#collect(from, to, forwarded)) {
            await pace.step();
            if (stopping.aborted) return undefined;
            const servers = audiences.of(event);
            if (servers.length > 0) orders.push({ event, servers });
          }
          from = to;
          // After a long stretch most is handed over on the way. A crash then repeats some of it, which is no harm.
          if (from < now && orders.length >= EVENTS_PER_WRITE) {
            const some = orders.splice(0);
            this.#parts.db.write((tx) => handOver(tx, sender, some));
          }
        }
        const { progress } = this.#parts;
        if (orders.length === 0 && forwarded.length === 0) {
          progress?.reach(now);
          return undefined;
        }
        return (tx) => {
          tx.onCommit(() => progress?.reach(now));
          handOver(tx, sender, orders);
          if (forwarded.length > 0) this.#removeForwarded.run(tx, now);
        };
      },
    };
  }

  /** What may have to be sent of the events stored in (from, to], in their order. */
  #collect(from: number, to: number, forwarded: { event_nid: number; position: number }[]): StoredEvent[] {
    const { events, serverName } = this.#parts;
    const found: { event: StoredEvent; at: number }[] = [];
    for (const { event_nid: nid } of this.#listFresh.list(from, to)) {
      const event = events.findByNid(nid);
      if (event !== undefined && serverNameOf(event.sender) === serverName && this.#isMadeHere(event)) {
        found.push({ event, at: nid });
      }
    }
    const due = forwarded.filter(({ position }) => position > from && position <= to);
    for (const { event_nid: nid, position } of due) found.push({ event: events.getByNid(nid), at: position });
    if (due.length > 0) found.sort((a, b) => a.at - b.at);
    return found.map(({ event }) => event);
  }

  /**
   * Whether it was given its place here: then all that it follows is held. A join that another server gave its place to is
   * told to the room by that server.
   */
  #isMadeHere({ prevEvents }: StoredEvent): boolean {
    return prevEvents.every((id) => this.#parts.events.find(id)?.outlier === false);
  }
}

function handOver(tx: WriteTx, sender: PduSender, orders: readonly Order[]): void {
  for (const { event, servers } of orders) {
    sender.sendPdu(tx, servers, { eventId: event.eventId, roomId: event.roomId });
  }
}

const NOBODY: readonly ServerName[] = Object.freeze([]);

/** Who is to have an event: the servers with a user in the room before it. Kept for each state that was asked for. */
class Audiences {
  readonly #parts: FanOutParts & { readonly acls: Pick<ServerAcls, 'isAllowedBy'> };
  readonly #kept = new LRUCache<string, readonly ServerName[]>({
    maxSize: NAMES_KEPT,
    sizeCalculation: (servers) => 1 + servers.length,
  });

  constructor(parts: FanOutParts & { readonly acls: Pick<ServerAcls, 'isAllowedBy'> }) {
    this.#parts = parts;
  }

  /** Without this server, and without the sender's: it has the event. A frozen list, the same for the same servers. */
  of(event: StoredEvent): readonly ServerName[] {
    const { serverName } = this.#parts;
    if (event.stateBefore === undefined) return NOBODY;
    const servers = this.#at(event, event.stateBefore);
    const origin = serverNameOf(event.sender);
    const target = this.#outsiderOf(event, event.stateBefore);
    const isComplete = target === undefined || servers.includes(target);
    if (isComplete && (origin === serverName || !servers.includes(origin))) return servers;
    const others = servers.filter((server) => server !== origin);
    return isComplete || target === undefined ? others : [...others, target];
  }

  /**
   * The server of a user whose invite or knock ends with this event: it is in the room with nobody, perhaps, but has to
   * know.
   */
  #outsiderOf({ type, sender, stateKey, content }: StoredEvent, before: StateGroupId): ServerName | undefined {
    const { serverName, groups, events } = this.#parts;
    if (type !== 'm.room.member' || stateKey === undefined || !isUserId(stateKey)) return undefined;
    const membership = membershipOf({ content });
    if (membership !== 'leave' && membership !== 'ban') return undefined;
    const server = serverNameOf(stateKey);
    // Whoever ends it themselves has told us of it.
    const nid =
      server === serverName || server === serverNameOf(sender)
        ? undefined
        : groups.find(before, 'm.room.member', stateKey);
    if (nid === undefined) return undefined;
    const was = membershipOf(events.getByNid(nid));
    return was === 'invite' || was === 'knock' ? server : undefined;
  }

  #at({ roomId }: StoredEvent, group: StateGroupId): readonly ServerName[] {
    const { heads, events, groups, acls, serverName } = this.#parts;
    const head = heads.find(roomId);
    if (head === undefined) return NOBODY;
    // Of the state before the event: whoever is shut out by it is told so.
    const aclNid = groups.find(group, 'm.room.server_acl', '');
    const acl = aclNid === undefined ? undefined : events.getByNid(aclNid);
    const key = `${group}${acl?.redactedBy === undefined ? '' : '-'}`;
    const kept = this.#kept.get(key);
    if (kept !== undefined) return kept;
    const inside = this.#isFederated(group) ? this.#listJoined(head, group) : [];
    const servers = Object.freeze(inside.filter((server) => server !== serverName && acls.isAllowedBy(server, acl)));
    this.#kept.set(key, servers);
    return servers;
  }

  #isFederated(group: StateGroupId): boolean {
    const { groups, events } = this.#parts;
    const nid = groups.find(group, 'm.room.create', '');
    return nid !== undefined && events.getByNid(nid).content['m.federate'] !== false;
  }

  /** The servers with a joined user: those of now, changed back by what has happened since. */
  #listJoined(head: { roomId: StoredEvent['roomId']; current: StateGroupId }, group: StateGroupId): ServerName[] {
    const { groups, events, members } = this.#parts;
    const joined = new Map(members.countJoined(head.roomId));
    const isJoin = (nid: number | undefined): boolean =>
      nid !== undefined && membershipOf(events.getByNid(nid)) === 'join';
    const changed = group === head.current ? [] : groups.difference(group, head.current);
    for (const { type, stateKey, left, right } of changed) {
      if (type !== 'm.room.member' || !isUserId(stateKey)) continue;
      const by = Number(isJoin(left)) - Number(isJoin(right));
      const server = serverNameOf(stateKey);
      if (by !== 0) joined.set(server, (joined.get(server) ?? 0) + by);
    }
    return [...joined].filter(([, count]) => count > 0).map(([server]) => server);
  }
}
