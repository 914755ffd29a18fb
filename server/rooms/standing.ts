import type { UserId } from '../matrix/identifiers.ts';
import type { Database, ReadStatement } from '../storage/types.ts';

/** A few figures about the rooms as a whole. What they cost does not grow with what was ever said in them. */
export class RoomsStanding {
  readonly #countJoined: ReadStatement<{ count: number }>;
  readonly #countStaged: ReadStatement<{ count: number }>;

  constructor({ db }: { readonly db: Pick<Database, 'prepareRead'> }) {
    // By the index of each user's memberships; 1 is "join".
    this.#countJoined = db.prepareRead(`
      SELECT count(DISTINCT room_nid) AS count FROM json_each(?) AS users
      CROSS JOIN room_members ON user_id = users.value AND membership = 1`);
    this.#countStaged = db.prepareRead('SELECT count(DISTINCT room_id) AS count FROM staged_events WHERE attempts = 0');
  }

  /** Rooms that at least one of these is joined to. */
  countJoined(users: readonly UserId[]): number {
    return this.#countJoined.find(JSON.stringify(users))?.count ?? 0;
  }

  /** Rooms with events of other servers that came in and do not stand in them yet. */
  countCatchingUp(): number {
    return this.#countStaged.find()?.count ?? 0;
  }
}
