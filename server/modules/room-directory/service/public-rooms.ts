import { invalidParam, notFound } from '../../../matrix/errors.ts';
import type { ServerName } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import { foldCase } from '../../../matrix/push-rules/glob.ts';
import type { ListFilter, ListPlace, Scope, StoredSummary, SummaryStore } from '../store/summaries.ts';
import type { DirectorySettings, RemoteDirectories } from './needs.ts';

const PAGE_SIZE = 100;
const MAX_PAGE_SIZE = 500;
/** More words than this narrow nothing down. */
const MAX_WORDS = 20;

/** What somebody wants to see of the directory. */
export interface PublicRoomsQuery {
  /** At most so many rooms; 0 and undefined leave it to the server. */
  readonly limit?: number | undefined;
  readonly since?: string | undefined;
  readonly searchTerm?: string | undefined;
  /** Null stands for rooms without a type; undefined takes all. */
  readonly roomTypes?: readonly (string | null)[] | undefined;
  readonly scope?: Scope | undefined;
  /** For other servers: rooms that their users can never join are left out. */
  readonly federatingOnly?: boolean | undefined;
}

/** The published room directory. */
export interface PublicRooms {
  /** One page, as the spec's `public_rooms_response`. @throws MatrixError M_INVALID_PARAM for a `since` that is no token */
  list(query: PublicRoomsQuery): JsonObject;
  /** Another server's directory. @throws MatrixError M_NOT_FOUND where it cannot be asked */
  listRemote(server: ServerName, query: JsonObject): Promise<JsonObject>;
}

type Direction = 'f' | 'b';

export function createPublicRooms(
  { searchEnabled }: Pick<DirectorySettings, 'searchEnabled'>,
  store: SummaryStore,
  remote: RemoteDirectories | undefined,
): PublicRooms {
  const nothing: JsonObject = { chunk: [], total_room_count_estimate: 0 };
  return {
    listRemote: async (server, query) => {
      if (!searchEnabled) return nothing;
      if (remote === undefined) throw notFound('The room directories of other servers cannot be reached from this one');
      return remote.listPublicRooms(server, query);
    },

    list: (query) => {
      if (!searchEnabled) return nothing;
      const filter: ListFilter = {
        scope: query.scope ?? 'published',
        words: foldCase(query.searchTerm ?? '')
          .split(/\s+/u)
          .filter(Boolean)
          .slice(0, MAX_WORDS),
        roomTypes: query.roomTypes,
        federatingOnly: query.federatingOnly ?? false,
      };
      const limit = Math.min(query.limit || PAGE_SIZE, MAX_PAGE_SIZE);
      const { direction, place } = readToken(query.since);
      // One more than wanted shows whether there is a further page.
      const found = store.list(filter, place, direction, limit + 1);
      const page = found.slice(0, limit);
      if (direction === 'b') page.reverse();
      const hasMore = found.length > limit;
      const isCutBefore = direction === 'b' ? hasMore : place !== undefined;
      const isCutAfter = direction === 'f' ? hasMore : true;
      const [first] = page;
      const last = page.at(-1);
      return {
        chunk: page.map(toJson),
        total_room_count_estimate: store.count(filter),
        ...(isCutAfter && last !== undefined ? { next_batch: writeToken('f', last) } : {}),
        ...(isCutBefore && first !== undefined ? { prev_batch: writeToken('b', first) } : {}),
      };
    },
  };
}

/** A token is a direction and the room next to the page, wrapped so that nobody takes it for more. */
function writeToken(direction: Direction, { joinedMembers, roomId }: StoredSummary): string {
  return Buffer.from(`${direction}${joinedMembers} ${roomId}`, 'utf8').toString('base64url');
}

function readToken(token: string | undefined): { direction: Direction; place: ListPlace | undefined } {
  if (token === undefined) return { direction: 'f', place: undefined };
  const parts = /^([fb])([0-9]{1,15}) (!.*)$/s.exec(Buffer.from(token, 'base64url').toString('utf8'));
  const [, direction, joinedMembers, roomId] = parts ?? [];
  if (direction === undefined || roomId === undefined) throw invalidParam('since: not a token this server gave out');
  return { direction: direction === 'b' ? 'b' : 'f', place: { joinedMembers: Number(joinedMembers), roomId } };
}

function toJson(room: StoredSummary): JsonObject {
  const { name, topic, avatarUrl, canonicalAlias, roomType } = room;
  return {
    room_id: room.roomId,
    num_joined_members: room.joinedMembers,
    world_readable: room.worldReadable,
    guest_can_join: room.guestCanJoin,
    join_rule: room.joinRule,
    ...(name === undefined ? {} : { name }),
    ...(topic === undefined ? {} : { topic }),
    ...(avatarUrl === undefined ? {} : { avatar_url: avatarUrl }),
    ...(canonicalAlias === undefined ? {} : { canonical_alias: canonicalAlias }),
    ...(roomType === undefined ? {} : { room_type: roomType }),
  };
}
