import { LRUCache } from 'lru-cache';
import type { RoomId, UserId } from '../../../matrix/identifiers.ts';
import {
  type CustomPushRule,
  effectiveRuleset,
  type RulesetOptions,
} from '../../../matrix/push-rules/default-rules.ts';
import { type CompiledRuleset, compileRuleset } from '../../../matrix/push-rules/evaluate.ts';
import { foldCase } from '../../../matrix/push-rules/glob.ts';
import type { PushCondition, PushRule, PushRuleKind, PushRuleset } from '../../../matrix/push-rules/rules.ts';
import type { WriteTx } from '../../../storage/types.ts';
import type { PushRuleStore } from '../store/rules.ts';
import { atMost } from '../../../util/lru.ts';

/** Users whose rules are kept ready. */
const USERS_KEPT = 2_000;
/** Rooms for which the rules of one user are kept ready, if they have rules about rooms. */
const ROOMS_KEPT = 100;

interface Ready {
  readonly ruleset: PushRuleset;
  /** For rooms that no rule is about. */
  readonly elsewhere: CompiledRuleset;
  /** Rooms that some rule is about, in lower case. */
  readonly rooms: ReadonlySet<string>;
  readonly byRoom: LRUCache<RoomId, CompiledRuleset>;
}

/**
 * The rules that hold for each user, kept ready for the next event. Some people have a rule for each of hundreds of rooms,
 * so what is about other rooms is left aside before an event is held against the rest.
 */
export class Rulesets {
  readonly #store: Pick<PushRuleStore, 'list' | 'listDefaultChanges'>;
  readonly #options: RulesetOptions;
  readonly #ready = new LRUCache<UserId, Ready>(atMost(USERS_KEPT));

  constructor(store: Pick<PushRuleStore, 'list' | 'listDefaultChanges'>, options: RulesetOptions = {}) {
    this.#store = store;
    this.#options = options;
  }

  /** As clients read them. */
  of(userId: UserId): PushRuleset {
    return this.#get(userId).ruleset;
  }

  /** Those that may match events of a room. */
  compiledFor(userId: UserId, roomId: RoomId): CompiledRuleset {
    const { ruleset, elsewhere, rooms, byRoom } = this.#get(userId);
    if (rooms.size === 0) return elsewhere;
    const known = byRoom.get(roomId);
    if (known !== undefined) return known;
    const room = foldCase(roomId);
    if (!rooms.has(room)) return elsewhere;
    const compiled = compileRuleset(narrow(ruleset, (about) => about === room));
    byRoom.set(roomId, compiled);
    return compiled;
  }

  /** To be called in the write that changes a user's rules. */
  forget(tx: WriteTx, userId: UserId): void {
    this.#ready.delete(userId);
    // What was read meanwhile saw a change that never came to be.
    tx.onRollback(() => this.#ready.delete(userId));
  }

  #get(userId: UserId): Ready {
    const known = this.#ready.get(userId);
    if (known !== undefined) return known;
    const ruleset = this.#load(userId);
    const rooms = new Set<string>();
    const collect = (about: string): boolean => {
      rooms.add(about);
      return false;
    };
    const elsewhere = compileRuleset(narrow(ruleset, collect));
    const ready = { ruleset, elsewhere, rooms, byRoom: new LRUCache<RoomId, CompiledRuleset>(atMost(ROOMS_KEPT)) };
    this.#ready.set(userId, ready);
    return ready;
  }

  #load(userId: UserId): PushRuleset {
    const rules: Partial<Record<PushRuleKind, CustomPushRule[]>> = {};
    for (const { kind, rule } of this.#store.list(userId)) (rules[kind] ??= []).push(rule);
    const defaults = new Map(this.#store.listDefaultChanges(userId).map((change) => [change.ruleId, change]));
    return effectiveRuleset(userId, { rules, defaults }, this.#options);
  }
}

/** The rules without those about one room, unless `isWanted` says so of it. Its ID comes in lower case. */
function narrow(ruleset: PushRuleset, isWanted: (about: string) => boolean): PushRuleset {
  const mayMatch = ({ conditions }: PushRule): boolean => {
    const about = conditions?.map(roomOf).find((room) => room !== undefined);
    return about === undefined || isWanted(about);
  };
  return {
    ...ruleset,
    override: ruleset.override.filter(mayMatch),
    room: ruleset.room.filter(({ rule_id: about }) => isWanted(foldCase(about))),
    underride: ruleset.underride.filter(mayMatch),
  };
}

/** The one room in which a condition can hold; undefined if it does not name one. */
function roomOf({ kind, key, pattern }: PushCondition): string | undefined {
  const isLiteral = kind === 'event_match' && key === 'room_id' && typeof pattern === 'string' && !/[*?]/.test(pattern);
  return isLiteral ? foldCase(pattern) : undefined;
}
