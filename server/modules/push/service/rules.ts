import { badJson, invalidParam, MatrixError, notFound, tooLarge, unknownError } from '../../../matrix/errors.ts';
import type { RoomId, UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import { findDefaultRuleKind } from '../../../matrix/push-rules/default-rules.ts';
import {
  type AnyPushRuleKind,
  parsePushActions,
  type PushAction,
  type PushCondition,
  type PushRule,
  type PushRuleKind,
  type PushRuleset,
} from '../../../matrix/push-rules/rules.ts';
import type { Database, WriteTx } from '../../../storage/types.ts';
import type { PushRuleStore, StoredRule } from '../store/rules.ts';
import type { Rulesets } from './rulesets.ts';

/** Rules of one's own that a user may have; every event is held against all of them. */
const MAX_RULES = 2_000;
/** Bytes of a rule's ID. Room and user IDs have at most 255, but clients also take what a rule looks for. */
const MAX_RULE_ID_BYTES = 512;
/** Bytes of a rule's JSON, as far as a client gives it. */
const MAX_RULE_BYTES = 32_768;
/** Longest pattern, UTF-16 units: with many question marks it takes time as it is long, for each event anew. */
const MAX_PATTERN_LENGTH = 512;

/** A rule as a client wants it (spec: client-server API, PUT /pushrules/…). */
export interface RuleDraft {
  readonly actions: readonly JsonValue[];
  readonly conditions?: readonly JsonValue[] | undefined;
  readonly pattern?: string | undefined;
}

/** Which rule of one's own the new one is to stand next to. */
export interface Neighbours {
  /** The one it is to be just above. Counts where both are given. */
  readonly before?: string | undefined;
  /** The one it is to be just below. */
  readonly after?: string | undefined;
}

/** A user's push rules, read and changed (spec: client-server API, "Push Rules: API"). */
export interface PushRules {
  list(userId: UserId): PushRuleset;
  /** @throws MatrixError M_NOT_FOUND */
  get(userId: UserId, kind: AnyPushRuleKind, ruleId: string): PushRule;
  /**
   * Makes a rule, or changes the one of this ID, keeping its place if none is given and whether it is enabled.
   * @throws MatrixError M_INVALID_PARAM (such an ID cannot be), M_BAD_JSON, M_TOO_LARGE, M_UNKNOWN (no such neighbour)
   */
  put(userId: UserId, kind: PushRuleKind, ruleId: string, draft: RuleDraft, neighbours: Neighbours): void;
  /** @throws MatrixError M_NOT_FOUND, also for default rules: these can only be disabled */
  remove(userId: UserId, kind: PushRuleKind, ruleId: string): void;
  /** @throws MatrixError M_NOT_FOUND */
  setEnabled(userId: UserId, kind: AnyPushRuleKind, ruleId: string, enabled: boolean): void;
  /** @throws MatrixError M_NOT_FOUND, M_BAD_JSON */
  setActions(userId: UserId, kind: AnyPushRuleKind, ruleId: string, actions: readonly JsonValue[]): void;
  /** What a user set for a room is set for the room that replaces it too (spec: "Room Upgrades"). */
  copyRoomRules(tx: WriteTx, userId: UserId, from: RoomId, to: RoomId): void;
  removeAll(tx: WriteTx, userId: UserId): void;
}

export function pushRules({
  db,
  store,
  rulesets,
}: {
  readonly db: Database;
  readonly store: PushRuleStore;
  readonly rulesets: Rulesets;
}): PushRules {
  function change(userId: UserId, make: (tx: WriteTx) => void): void {
    db.write((tx) => {
      make(tx);
      noteChange(tx, userId);
    });
  }

  function noteChange(tx: WriteTx, userId: UserId): void {
    store.markChanged(tx, userId);
    rulesets.forget(tx, userId);
  }

  /** Frees the place a rule is to have and gives it; undefined to leave it to the rule itself. */
  function placeBeside(
    tx: WriteTx,
    userId: UserId,
    kind: PushRuleKind,
    ruleId: string,
    { before, after }: Neighbours,
  ): number | undefined {
    const neighbour = before ?? after;
    if (neighbour === undefined || neighbour === ruleId) return undefined;
    const found = store.find(userId, kind, neighbour);
    if (found === undefined) throw unknownError(`You have no rule of this kind called ${neighbour}`);
    const place = before === undefined ? found.place + 1 : found.place;
    store.makeRoom(tx, userId, kind, place);
    return place;
  }

  return {
    list: (userId) => rulesets.of(userId),
    get(userId, kind, ruleId) {
      const rule = rulesets.of(userId)[kind]?.find((candidate) => candidate.rule_id === ruleId);
      if (rule === undefined) throw unknownRule();
      return rule;
    },
    put(userId, kind, ruleId, draft, neighbours) {
      checkRuleId(ruleId);
      const parts = readDraft(kind, draft);
      change(userId, (tx) => {
        const old = store.find(userId, kind, ruleId);
        if (old === undefined && store.count(userId) >= MAX_RULES) {
          throw new MatrixError('M_LIMIT_EXCEEDED', `You can have at most ${MAX_RULES} push rules`, { status: 400 });
        }
        const place = placeBeside(tx, userId, kind, ruleId, neighbours) ?? old?.place ?? store.placeOnTop(userId, kind);
        const rule = { rule_id: ruleId, enabled: old?.rule.enabled ?? true, ...parts };
        store.put(tx, userId, { kind, place, rule });
      });
    },
    remove(userId, kind, ruleId) {
      change(userId, (tx) => {
        if (!store.remove(tx, userId, kind, ruleId)) throw unknownRule();
      });
    },
    setEnabled(userId, kind, ruleId, enabled) {
      change(userId, (tx) => {
        if (findDefaultRuleKind(ruleId) === kind) store.setDefaultEnabled(tx, userId, ruleId, enabled);
        else if (kind === 'postcontent' || !store.setEnabled(tx, userId, kind, ruleId, enabled)) throw unknownRule();
      });
    },
    setActions(userId, kind, ruleId, actions) {
      const checked = checkActions(actions);
      change(userId, (tx) => {
        if (findDefaultRuleKind(ruleId) === kind) store.setDefaultActions(tx, userId, ruleId, checked);
        else if (kind === 'postcontent' || !store.setActions(tx, userId, kind, ruleId, checked)) throw unknownRule();
      });
    },
    copyRoomRules(tx, userId, from, to) {
      const rules = store.list(userId);
      const names = new Set(rules.map(({ kind, rule }) => nameOf(kind, rule.rule_id)));
      let copied = false;
      for (const original of rules) {
        const copy = ruleForRoom(original, from, to);
        if (copy === undefined || names.has(nameOf(copy.kind, copy.rule.rule_id))) continue;
        const place = placeBeside(tx, userId, copy.kind, copy.rule.rule_id, { after: original.rule.rule_id });
        store.put(tx, userId, { ...copy, place: place ?? copy.place });
        names.add(nameOf(copy.kind, copy.rule.rule_id));
        copied = true;
      }
      if (copied) noteChange(tx, userId);
    },
    removeAll(tx, userId) {
      store.removeUser(tx, userId);
      rulesets.forget(tx, userId);
    },
  };
}

function unknownRule(): MatrixError {
  return notFound('There is no such push rule');
}

function nameOf(kind: PushRuleKind, ruleId: string): string {
  return `${kind}/${ruleId}`;
}

function checkRuleId(ruleId: string): void {
  if (ruleId.startsWith('.')) throw invalidParam('Rule IDs that begin with a dot are for the default rules');
  if (/[/\\]/.test(ruleId)) throw invalidParam('A rule ID holds neither slashes nor backslashes');
  if (Buffer.byteLength(ruleId) > MAX_RULE_ID_BYTES) {
    throw invalidParam(`A rule ID has at most ${MAX_RULE_ID_BYTES} bytes`);
  }
}

function readDraft(
  kind: PushRuleKind,
  { actions, conditions, pattern }: RuleDraft,
): { actions: readonly PushAction[]; conditions?: readonly PushCondition[]; pattern?: string } {
  const checked = checkActions(actions);
  const size = Buffer.byteLength(JSON.stringify([actions, conditions, pattern]));
  if (size > MAX_RULE_BYTES) throw tooLarge(`A push rule has at most ${MAX_RULE_BYTES} bytes`);
  switch (kind) {
    case 'override':
    case 'underride':
      return { actions: checked, conditions: checkConditions(conditions ?? []) };
    case 'content':
      if (pattern === undefined) throw badJson('A content rule needs a pattern');
      checkPattern(pattern);
      return { actions: checked, pattern };
    case 'room':
    case 'sender':
      return { actions: checked };
  }
}

function checkPattern(pattern: JsonValue | undefined): void {
  if (typeof pattern !== 'string' || pattern.length <= MAX_PATTERN_LENGTH) return;
  throw tooLarge(`A pattern has at most ${MAX_PATTERN_LENGTH} characters`);
}

function checkConditions(conditions: readonly JsonValue[]): readonly PushCondition[] {
  return conditions.map((condition) => {
    if (!isJsonObject(condition) || typeof condition['kind'] !== 'string') {
      throw badJson('Every condition is an object with a kind');
    }
    checkPattern(condition['pattern']);
    return condition;
  });
}

/** Actions that once meant something are kept as they came: they do nothing, and clients find what they have set. */
function checkActions(actions: readonly JsonValue[]): readonly PushAction[] {
  const parsed = parsePushActions([...actions]);
  if (parsed === undefined || parsed.some((action) => typeof action === 'string' && action !== 'notify')) {
    throw badJson('The actions are not all known ones');
  }
  return actions.filter((action): action is PushAction => typeof action === 'string' || isJsonObject(action));
}

/** The rule that is for room `to` what another is for `from`; undefined if that is not about one room. */
function ruleForRoom({ kind, place, rule }: StoredRule, from: RoomId, to: RoomId): StoredRule | undefined {
  if (kind === 'room') return rule.rule_id === from ? { kind, place, rule: { ...rule, rule_id: to } } : undefined;
  const conditions = rule.conditions;
  if (conditions === undefined || !conditions.some((condition) => isRoomCondition(condition, from))) return undefined;
  return {
    kind,
    place,
    rule: {
      ...rule,
      rule_id: rule.rule_id.includes(from) ? rule.rule_id.replaceAll(from, to) : to,
      conditions: conditions.map((condition) =>
        isRoomCondition(condition, from) ? { ...condition, pattern: to } : condition,
      ),
    },
  };
}

function isRoomCondition({ kind, key, pattern }: JsonObject, roomId: RoomId): boolean {
  return kind === 'event_match' && key === 'room_id' && pattern === roomId;
}
