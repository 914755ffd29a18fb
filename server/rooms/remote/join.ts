import { FederationError } from '../../federation/errors.ts';
import { MatrixError } from '../../matrix/errors.ts';
import { isJsonObject } from '../../matrix/json.ts';
import type { RoomId, ServerName } from '../../matrix/identifiers.ts';
import { SerialQueue } from '../../util/serial-queue.ts';
import { isRecordOnly, startOver } from '../outside-membership.ts';
import { enter } from './enter.ts';
import { bestError, malformed } from './failures.ts';
import { makeEvent, otherServers, tryServers } from './handshake.ts';
import { sendJoin } from './join-answer.ts';
import type { RemoteChange, RemoteParts } from './parts.ts';

const MAKE_TIMEOUT_MS = 20_000;
const COMPLEXITY_TIMEOUT_MS = 10_000;
const COMPLEXITY_SERVERS = 3;
/** A room's complexity is counted in these. */
const EVENTS_PER_COMPLEXITY = 500;

type Join = RemoteChange & { readonly servers: readonly ServerName[] };

/** Joins of rooms that other servers are in (server-server API, "Joining Rooms"); one at a time for each room. */
export class RemoteJoins {
  readonly #parts: RemoteParts;
  readonly #lines = new SerialQueue<RoomId>();

  constructor(parts: RemoteParts) {
    this.#parts = parts;
  }

  /**
   * Resolves when the room is one this server is in, the user joined to it.
   * @throws MatrixError what the servers answered; M_RESOURCE_LIMIT_EXCEEDED for a room that is too large
   */
  async join(join: Join): Promise<void> {
    const { joinHere } = this.#parts;
    const wasInside = this.#isInside(join.roomId);
    const isDone = await this.#lines.run(join.roomId, async () => {
      // Somebody else of this server was before us.
      if (!wasInside && this.#isInside(join.roomId)) return false;
      await this.#join(join);
      return true;
    });
    if (isDone) return;
    if (joinHere !== undefined) await joinHere(join);
    else await this.#joinPlainly(join);
  }

  #isInside(roomId: RoomId): boolean {
    return this.#parts.members.listLocalJoined(roomId).length > 0;
  }

  async #joinPlainly({ roomId, userId, content }: Join): Promise<void> {
    const draft = { roomId, type: 'm.room.member', sender: userId, stateKey: userId };
    await this.#parts.sender.send({ ...draft, content: { ...content, membership: 'join' } });
  }

  async #join(join: Join): Promise<void> {
    const { members } = this.#parts;
    const servers = otherServers(this.#parts, join.servers, members.listServers(join.roomId));
    const isLimited = this.#isLimited(join);
    if (isLimited) await this.#checkComplexity(join.roomId, servers);
    await tryServers(servers, (server, options) => this.#joinThrough(server, join, options), bestError);
    if (isLimited) await this.#checkSize(join);
  }

  async #joinThrough(
    server: ServerName,
    join: Join,
    { ignoreBackoff }: { readonly ignoreBackoff: boolean },
  ): Promise<void> {
    const { db, heads, log } = this.#parts;
    const { roomId, userId } = join;
    try {
      const event = await makeEvent(this.#parts, 'join', server, join, { timeoutMs: MAKE_TIMEOUT_MS, ignoreBackoff });
      const head = heads.find(roomId);
      if (head !== undefined && head.version !== event.version) {
        if (!isRecordOnly(head)) throw malformed(server, 'the room has another version here');
        // Whoever invited was wrong about it.
        db.write((tx) => void startOver(tx, this.#parts, head, event.version));
      }
      const joined = await enter(this.#parts, server, await sendJoin(this.#parts, server, event));
      log.info({ roomId, userId, server, eventId: joined.eventId }, 'room joined over federation');
    } catch (error) {
      if (error instanceof FederationError) {
        const { kind, status, errcode, message } = error;
        log.info({ roomId, userId, server, kind, status, errcode, message }, 'a server did not help to join a room');
      }
      throw error;
    }
  }

  #isLimited({ userId, roomId }: Join): boolean {
    const { limit, isAdmin } = this.#parts;
    return limit !== undefined && !this.#isInside(roomId) && !(limit.adminsCanJoin && isAdmin(userId));
  }

  /** Asks how large the room is before any of it is fetched. Where nobody says it, it is measured afterwards. */
  async #checkComplexity(roomId: RoomId, servers: readonly ServerName[]): Promise<void> {
    const { client, limit } = this.#parts;
    for (const destination of servers.slice(0, COMPLEXITY_SERVERS)) {
      try {
        const answer = await client.request({
          destination,
          method: 'GET',
          path: `/_matrix/federation/unstable/rooms/${encodeURIComponent(roomId)}/complexity`,
          timeoutMs: COMPLEXITY_TIMEOUT_MS,
        });
        const complexity = isJsonObject(answer) ? answer['v1'] : undefined;
        if (typeof complexity !== 'number') continue;
        if (limit !== undefined && complexity > limit.complexity) throw this.#tooLarge();
        return;
      } catch (error) {
        if (!(error instanceof FederationError)) throw error;
      }
    }
  }

  /** Leaves a room that turns out to be larger than was said. */
  async #checkSize({ roomId, userId }: Join): Promise<void> {
    const { limit, heads, groups, sender } = this.#parts;
    const head = heads.find(roomId);
    if (limit === undefined || head === undefined) return;
    if (groups.countEntries(head.current) / EVENTS_PER_COMPLEXITY <= limit.complexity) return;
    const draft = { roomId, type: 'm.room.member', sender: userId, stateKey: userId };
    await sender.send({ ...draft, content: { membership: 'leave' } });
    throw this.#tooLarge();
  }

  #tooLarge(): MatrixError {
    return new MatrixError('M_RESOURCE_LIMIT_EXCEEDED', this.#parts.limit?.error ?? 'This room is too large', {
      status: 400,
    });
  }
}
