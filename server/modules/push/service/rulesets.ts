import { LRUCache } from 'lru-cache';
import type { UserId } from '../../../matrix/identifiers.ts';
import { type CustomPushRule, effectiveRuleset } from '../../../matrix/push-rules/default-rules.ts';
import { type CompiledRuleset, compileRuleset } from '../../../matrix/push-rules/evaluate.ts';
import type { PushRuleKind, PushRuleset } from '../../../matrix/push-rules/rules.ts';
import type { WriteTx } from '../../../storage/types.ts';
import type { PushRuleStore } from '../store/rules.ts';

/** Users whose rules are kept ready. */
const USERS_KEPT = 2_000;

interface Ready {
  readonly ruleset: PushRuleset;
  readonly compiled: CompiledRuleset;
}

/** The rules that hold for each user, kept ready for the next event. */
export class Rulesets {
  readonly #store: Pick<PushRuleStore, 'list' | 'listDefaultChanges'>;
  readonly #ready = new LRUCache<UserId, Ready>({ max: USERS_KEPT });

  constructor(store: Pick<PushRuleStore, 'list' | 'listDefaultChanges'>) {
    this.#store = store;
  }

  /** As clients read them. */
  of(userId: UserId): PushRuleset {
    return this.#get(userId).ruleset;
  }

  compiledOf(userId: UserId): CompiledRuleset {
    return this.#get(userId).compiled;
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
    const ready = { ruleset, compiled: compileRuleset(ruleset) };
    this.#ready.set(userId, ready);
    return ready;
  }

  #load(userId: UserId): PushRuleset {
    const rules: Partial<Record<PushRuleKind, CustomPushRule[]>> = {};
    for (const { kind, rule } of this.#store.list(userId)) (rules[kind] ??= []).push(rule);
    const defaults = new Map(this.#store.listDefaultChanges(userId).map((change) => [change.ruleId, change]));
    return effectiveRuleset(userId, { rules, defaults });
  }
}
