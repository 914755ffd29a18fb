import { forbidden, invalidParam } from '../../../matrix/errors.ts';
import { type RoomId, type ServerName, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { MembershipReader } from '../../../rooms/types.ts';
import type { Database } from '../../../storage/types.ts';
import type { Clock } from '../../../util/clock.ts';
import { Pace } from '../../../util/pace.ts';
import { type Random, randomString } from '../../../util/random.ts';
import type { Stop, Walk, WalkStore } from '../store.ts';
import type { OutsideRoom } from './answer.ts';
import type { ChildLink } from './children.ts';
import type { Elsewhere } from './elsewhere.ts';
import type { LocalChildren } from './local-children.ts';
import type { Previews } from './needs.ts';

/** Rooms of a page, whatever is asked for. */
const MAX_PAGE = 50;
/** Links of a page, which may go past it by those of one space. */
const MAX_PAGE_LINKS = 2_000;
/** How deep a walk goes, whatever is asked for. */
const MAX_DEPTH = 100;
/** Rooms looked at on one walk, over all its pages; and rooms that may be ahead of it. */
const MAX_WALK = 10_000;
/** Rooms of one page for which other servers are asked, and how long that may take before the page ends, ms. */
const MAX_ASKED = 100;
const MAX_PAGE_MS = 15_000;
/** Stops ahead of a question that are asked about at the same time. */
const LOOK_AHEAD = 10;
/** How long a client may take to ask for the next page, ms. */
const TOKEN_LIFETIME_MS = 10 * 60_000;
const TOKEN_LENGTH = 24;
/** How long may be worked at a stretch, ms. */
const SLICE_MS = 5;

export interface HierarchyNeeds {
  readonly db: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly serverName: ServerName;
  readonly members: Pick<MembershipReader, 'findMember' | 'listServers'>;
  readonly previews: Previews;
}

export interface HierarchyQuery {
  readonly suggestedOnly: boolean;
  readonly maxDepth: number | undefined;
  readonly limit: number | undefined;
  readonly from: string | undefined;
}

/** Walks through spaces. */
export interface Hierarchy {
  /**
   * One page of the tree under a room, depth first, each room once, as far as the user may know of them (spec:
   * `GET /rooms/{roomId}/hierarchy`).
   * @throws MatrixError M_FORBIDDEN where the room itself is not for the user; M_INVALID_PARAM where `from` leads nowhere
   */
  page(userId: UserId, root: RoomId, query: HierarchyQuery, signal: AbortSignal): Promise<JsonObject>;
}

/** A room on the way, with its children. */
interface Sight {
  readonly summary: JsonObject;
  readonly links: readonly ChildLink[];
  /** Who told of it and its children; undefined if this server knows by itself. */
  readonly server: ServerName | undefined;
  /** Children that are for nobody here. */
  readonly closed: ReadonlySet<RoomId>;
}

const NONE: ReadonlySet<RoomId> = new Set();

export function createHierarchy(
  { db, clock, random, serverName, members, previews }: HierarchyNeeds,
  { store, local, elsewhere }: { store: WalkStore; local: LocalChildren; elsewhere: Elsewhere },
): Hierarchy {
  function begin(root: RoomId, suggestedOnly: boolean, maxDepth: number): Walk {
    // Who was in it when one of us was may still be.
    const via = previews.describe(root) === undefined ? members.listServers(root).slice(0, MAX_PAGE) : [];
    return { root, suggestedOnly, maxDepth, ahead: [{ roomId: root, via, depth: 0 }], seen: [] };
  }

  function resume(userId: UserId, token: string, asked: Pick<Walk, 'root' | 'suggestedOnly' | 'maxDepth'>): Walk {
    const walk = store.find(token, userId, clock.now());
    if (walk === undefined || walk.root !== asked.root)
      throw invalidParam('The token in from is not known, or no longer');
    if (walk.suggestedOnly !== asked.suggestedOnly || walk.maxDepth !== asked.maxDepth) {
      throw invalidParam('suggested_only and max_depth have to stay the same from page to page');
    }
    return walk;
  }

  function save(userId: UserId, walk: Walk): string {
    const token = randomString(random, TOKEN_LENGTH);
    const nowMs = clock.now();
    db.write((tx) => store.insert(tx, token, walk, { userId, nowMs, expiresMs: nowMs + TOKEN_LIFETIME_MS }));
    return token;
  }

  /** Whoever was banned can do nothing with a room but read it, if everybody can. */
  function isBanned(userId: UserId, roomId: RoomId): boolean {
    return members.findMember(roomId, userId)?.membership === 'ban';
  }

  /** What the server that told of the parent has told of the room itself. */
  function findTold({ roomId, told }: Stop): OutsideRoom | undefined {
    return told === undefined ? undefined : elsewhere.peek(told.server, told.space)?.children.get(roomId);
  }

  /** Whom to ask about a room: whoever invited the user knows it best. */
  function serversFor(userId: UserId, { roomId, via }: Stop): ServerName[] {
    const member = members.findMember(roomId, userId);
    const inviter = member?.membership === 'invite' ? [serverNameOf(member.sender)] : [];
    return [...inviter, ...via].filter((server) => server !== serverName);
  }

  function isToBeAsked(userId: UserId, stop: Stop): boolean {
    if (previews.describe(stop.roomId) !== undefined || findTold(stop)?.isSpace === false) return false;
    return serversFor(userId, stop).length > 0;
  }

  function ask(userId: UserId, stop: Stop): ReturnType<Elsewhere['find']> {
    return elsewhere.find(stop.roomId, serversFor(userId, stop));
  }

  async function look(userId: UserId, stop: Stop, pace: Pace): Promise<Sight | undefined> {
    const { roomId } = stop;
    const summary = previews.describe(roomId);
    if (summary !== undefined) {
      if (!previews.isShownTo(userId, roomId)) return undefined;
      if (isBanned(userId, roomId) && summary['world_readable'] !== true) return undefined;
      const links = summary['room_type'] === 'm.space' ? await local.list(roomId, pace) : [];
      return { summary, links, server: undefined, closed: NONE };
    }
    const told = findTold(stop);
    const space = told?.isSpace === false ? undefined : await ask(userId, stop);
    const room = space?.room ?? told;
    if (room === undefined || !previews.isShownElsewhere(userId, room)) return undefined;
    if (isBanned(userId, roomId) && !room.worldReadable) return undefined;
    return {
      summary: room.summary,
      links: space?.links ?? [],
      server: space?.server,
      closed: space?.inaccessible ?? NONE,
    };
  }

  return {
    page: async (userId, root, { suggestedOnly, limit = MAX_PAGE, from, ...query }, signal) => {
      const maxDepth = Math.min(query.maxDepth ?? MAX_DEPTH, MAX_DEPTH);
      const walk =
        from === undefined
          ? begin(root, suggestedOnly, maxDepth)
          : resume(userId, from, { root, suggestedOnly, maxDepth });
      const ahead = [...walk.ahead];
      const seen = new Set(walk.seen);
      const rooms: JsonObject[] = [];
      const most = Math.min(limit, MAX_PAGE);
      const end = clock.monotonic() + MAX_PAGE_MS;
      const pace = new Pace(clock, SLICE_MS);
      let asked = 0;
      let linksShown = 0;

      while (rooms.length < most && linksShown < MAX_PAGE_LINKS && asked < MAX_ASKED && seen.size < MAX_WALK) {
        if (clock.monotonic() >= end) break;
        const stop = ahead.pop();
        if (stop === undefined) break;
        if (seen.has(stop.roomId)) continue;
        seen.add(stop.roomId);
        signal.throwIfAborted();
        await pace.step();
        if (isToBeAsked(userId, stop)) {
          asked += 1;
          // Neighbours are mostly elsewhere too: asked one after the other, they would take as long as all together.
          for (const next of ahead.slice(-LOOK_AHEAD)) {
            if (!seen.has(next.roomId) && isToBeAsked(userId, next)) void ask(userId, next);
          }
        }
        const sight = await look(userId, stop, pace);
        if (sight === undefined) {
          if (stop.depth === 0) throw forbidden('There is no such room, or it may not be shown to you');
          continue;
        }
        const links = sight.links.filter(({ suggested }) => suggested || !suggestedOnly);
        linksShown += links.length;
        rooms.push({ ...sight.summary, children_state: links.map(({ stripped }) => stripped) });
        if (stop.depth >= maxDepth) continue;
        const told = sight.server === undefined ? undefined : { server: sight.server, space: stop.roomId };
        const children = links.filter(({ roomId }) => !seen.has(roomId) && !sight.closed.has(roomId));
        for (const { roomId, via } of children.slice(0, MAX_WALK - ahead.length).reverse()) {
          ahead.push({ roomId, via, depth: stop.depth + 1, ...(told === undefined ? {} : { told }) });
        }
      }

      const left = seen.size < MAX_WALK ? ahead.filter(({ roomId }) => !seen.has(roomId)) : [];
      if (left.length === 0) return { rooms };
      return { rooms, next_batch: save(userId, { ...walk, ahead: left, seen: [...seen] }) };
    },
  };
}
