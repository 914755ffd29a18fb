import type { RoomId } from '../../matrix/identifiers.ts';
import type { PersistedEvent, Projection, Timeline } from '../../rooms/types.ts';
import { type Database, STREAM_START, type StreamPosition } from '../../storage/types.ts';

/** What people would call something happening in a room (MSC4186, `bump_stamp`). */
const BUMPING: ReadonlySet<string> = new Set([
  'm.room.create',
  'm.room.message',
  'm.room.encrypted',
  'm.sticker',
  'm.call.invite',
  'm.poll.start',
  'm.beacon_info',
]);
/** Events looked for at once in a room of which nothing is noted yet: read together, they cost little more than one. */
const LOOKED_FOR = 30;

/** When something last happened in each room. Noted as it is stored: looking for it could mean going through a long list of joins. */
export class BumpStamps {
  readonly projection: Projection;
  readonly #db: Pick<Database, 'write'>;
  readonly #timeline: Pick<Timeline, 'since'>;
  readonly #find;
  readonly #put;

  constructor({ db, timeline }: { db: Database; timeline: Pick<Timeline, 'since'> }) {
    this.#db = db;
    this.#timeline = timeline;
    this.#find = db.prepareRead<{ position: number }>('SELECT position FROM sliding_bumps WHERE room_id = ?');
    this.#put = db.prepareWrite(`
      INSERT INTO sliding_bumps (room_id, position) VALUES (?, ?)
      ON CONFLICT DO UPDATE SET position = max(position, excluded.position)`);
    this.projection = {
      name: 'bump-stamps',
      project: (tx, event, { live }) => {
        if (live && event.verdict === 'accepted' && isBump(event)) this.#put.run(tx, event.roomId, event.position);
      },
    };
  }

  /** The position of the last such event; undefined if there is none, or none among the last of an older room. */
  of(roomId: RoomId, now: StreamPosition): StreamPosition | undefined {
    const noted = this.#find.find(roomId)?.position;
    const position = noted ?? this.#findOut(roomId, now);
    return position === STREAM_START ? undefined : (position as StreamPosition);
  }

  /** For rooms that were there before anything was noted. */
  #findOut(roomId: RoomId, now: StreamPosition): StreamPosition {
    const { events } = this.#timeline.since({
      roomId,
      since: STREAM_START,
      now,
      limit: LOOKED_FOR,
      accept: isBump,
    });
    const position = events.at(-1)?.position ?? STREAM_START;
    this.#db.write((tx) => this.#put.run(tx, roomId, position));
    return position;
  }
}

function isBump({ type }: PersistedEvent): boolean {
  return BUMPING.has(type);
}
