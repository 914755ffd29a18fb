import type { UserId } from '../../../matrix/identifiers.ts';
import type { CustomPushRule } from '../../../matrix/push-rules/default-rules.ts';
import { isPushRuleKind, type PushAction, type PushRuleKind } from '../../../matrix/push-rules/rules.ts';
import type { Database, StreamPosition, WriteTx } from '../../../storage/types.ts';

/** A user's own rule, with its kind and where it stands among those of the kind. */
export interface StoredRule {
  readonly kind: PushRuleKind;
  /** The lower, the more important. */
  readonly place: number;
  readonly rule: CustomPushRule;
}

/** What a user changed about a default rule. */
export interface DefaultRuleChange {
  readonly ruleId: string;
  readonly enabled: boolean | undefined;
  readonly actions: readonly PushAction[] | undefined;
}

interface RuleRow {
  kind: string;
  rule_id: string;
  place: number;
  enabled: number;
  actions: string;
  conditions: string | null;
  pattern: string | null;
}

const COLUMNS = 'kind, rule_id, place, enabled, actions, conditions, pattern';

function toRule(row: RuleRow): StoredRule {
  if (!isPushRuleKind(row.kind)) throw new Error('a stored push rule is of an unknown kind');
  return {
    kind: row.kind,
    place: row.place,
    rule: {
      rule_id: row.rule_id,
      enabled: row.enabled !== 0,
      actions: JSON.parse(row.actions),
      ...(row.conditions === null ? {} : { conditions: JSON.parse(row.conditions) }),
      ...(row.pattern === null ? {} : { pattern: row.pattern }),
    },
  };
}

/** The push rules that users made, and what they changed about the default ones. */
export class PushRuleStore {
  readonly #list;
  readonly #find;
  readonly #count;
  readonly #findTop;
  readonly #put;
  readonly #shift;
  readonly #setEnabled;
  readonly #setActions;
  readonly #remove;
  readonly #listDefaults;
  readonly #setDefaultEnabled;
  readonly #setDefaultActions;
  readonly #findChange;
  readonly #putChange;
  readonly #removals;

  constructor(db: Database) {
    this.#list = db.prepareRead<RuleRow>(`SELECT ${COLUMNS} FROM push_rules WHERE user_id = ? ORDER BY kind, place`);
    this.#find = db.prepareRead<RuleRow>(
      `SELECT ${COLUMNS} FROM push_rules WHERE user_id = ? AND kind = ? AND rule_id = ?`,
    );
    this.#count = db.prepareRead<{ rules: number }>('SELECT count(*) AS rules FROM push_rules WHERE user_id = ?');
    this.#findTop = db.prepareRead<{ place: number | null }>(
      'SELECT min(place) AS place FROM push_rules WHERE user_id = ? AND kind = ?',
    );
    this.#put = db.prepareWrite(
      `INSERT OR REPLACE INTO push_rules (user_id, ${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#shift = db.prepareWrite(
      'UPDATE push_rules SET place = place + 1 WHERE user_id = ? AND kind = ? AND place >= ?',
    );
    this.#setEnabled = db.prepareWrite(
      'UPDATE push_rules SET enabled = ? WHERE user_id = ? AND kind = ? AND rule_id = ?',
    );
    this.#setActions = db.prepareWrite(
      'UPDATE push_rules SET actions = ? WHERE user_id = ? AND kind = ? AND rule_id = ?',
    );
    this.#remove = db.prepareWrite('DELETE FROM push_rules WHERE user_id = ? AND kind = ? AND rule_id = ?');
    this.#listDefaults = db.prepareRead<{ rule_id: string; enabled: number | null; actions: string | null }>(
      'SELECT rule_id, enabled, actions FROM push_default_rules WHERE user_id = ?',
    );
    this.#setDefaultEnabled = db.prepareWrite(`
      INSERT INTO push_default_rules (user_id, rule_id, enabled) VALUES (?, ?, ?)
      ON CONFLICT DO UPDATE SET enabled = excluded.enabled`);
    this.#setDefaultActions = db.prepareWrite(`
      INSERT INTO push_default_rules (user_id, rule_id, actions) VALUES (?, ?, ?)
      ON CONFLICT DO UPDATE SET actions = excluded.actions`);
    this.#findChange = db.prepareRead<{ position: StreamPosition }>(
      'SELECT position FROM push_rule_changes WHERE user_id = ?',
    );
    this.#putChange = db.prepareWrite('INSERT OR REPLACE INTO push_rule_changes (user_id, position) VALUES (?, ?)');
    this.#removals = ['push_rules', 'push_default_rules', 'push_rule_changes'].map((table) =>
      db.prepareWrite(`DELETE FROM ${table} WHERE user_id = ?`),
    );
  }

  /** A user's own rules, the most important of each kind first. */
  list(userId: UserId): StoredRule[] {
    return this.#list.list(userId).map(toRule);
  }

  find(userId: UserId, kind: PushRuleKind, ruleId: string): StoredRule | undefined {
    const row = this.#find.find(userId, kind, ruleId);
    return row === undefined ? undefined : toRule(row);
  }

  count(userId: UserId): number {
    return this.#count.find(userId)?.rules ?? 0;
  }

  /** A place above all of a user's own rules of a kind. */
  placeOnTop(userId: UserId, kind: PushRuleKind): number {
    return (this.#findTop.find(userId, kind)?.place ?? 1) - 1;
  }

  /** Frees a place by moving what is there, and all below it, one down. */
  makeRoom(tx: WriteTx, userId: UserId, kind: PushRuleKind, place: number): void {
    this.#shift.run(tx, userId, kind, place);
  }

  put(tx: WriteTx, userId: UserId, { kind, place, rule }: StoredRule): void {
    const { rule_id: ruleId, enabled, actions, conditions, pattern } = rule;
    this.#put.run(
      tx,
      userId,
      kind,
      ruleId,
      place,
      enabled ? 1 : 0,
      JSON.stringify(actions),
      conditions === undefined ? null : JSON.stringify(conditions),
      pattern ?? null,
    );
  }

  /** Says whether there was such a rule, as the next two do. */
  setEnabled(tx: WriteTx, userId: UserId, kind: PushRuleKind, ruleId: string, enabled: boolean): boolean {
    return this.#setEnabled.run(tx, enabled ? 1 : 0, userId, kind, ruleId).changes > 0;
  }

  setActions(tx: WriteTx, userId: UserId, kind: PushRuleKind, ruleId: string, actions: readonly PushAction[]): boolean {
    return this.#setActions.run(tx, JSON.stringify(actions), userId, kind, ruleId).changes > 0;
  }

  remove(tx: WriteTx, userId: UserId, kind: PushRuleKind, ruleId: string): boolean {
    return this.#remove.run(tx, userId, kind, ruleId).changes > 0;
  }

  listDefaultChanges(userId: UserId): DefaultRuleChange[] {
    return this.#listDefaults.list(userId).map((row) => ({
      ruleId: row.rule_id,
      enabled: row.enabled === null ? undefined : row.enabled !== 0,
      actions: row.actions === null ? undefined : JSON.parse(row.actions),
    }));
  }

  setDefaultEnabled(tx: WriteTx, userId: UserId, ruleId: string, enabled: boolean): void {
    this.#setDefaultEnabled.run(tx, userId, ruleId, enabled ? 1 : 0);
  }

  setDefaultActions(tx: WriteTx, userId: UserId, ruleId: string, actions: readonly PushAction[]): void {
    this.#setDefaultActions.run(tx, userId, ruleId, JSON.stringify(actions));
  }

  /** When the user's rules last changed; undefined if they never did. */
  findChange(userId: UserId): StreamPosition | undefined {
    return this.#findChange.find(userId)?.position;
  }

  markChanged(tx: WriteTx, userId: UserId): void {
    this.#putChange.run(tx, userId, tx.nextPosition());
    tx.touch(`user:${userId}`);
  }

  removeUser(tx: WriteTx, userId: UserId): void {
    for (const statement of this.#removals) statement.run(tx, userId);
  }
}
