import type { JsonObject, JsonValue } from '../json.ts';

/** The kinds of push rule, in the order in which they are asked (spec: client-server API, "Push Rules"). */
export const PUSH_RULE_KINDS = ['override', 'content', 'room', 'sender', 'underride'] as const;
export type PushRuleKind = (typeof PUSH_RULE_KINDS)[number];

/** `notify`, or `{ set_tweak, value }`. Others are passed on untouched, but mean nothing here. */
export type PushAction = string | JsonObject;

/** A condition of an override or underride rule; `kind` says which other keys count. */
export type PushCondition = JsonObject;

/** A push rule as clients read it. */
export type PushRule = {
  readonly rule_id: string;
  readonly default: boolean;
  readonly enabled: boolean;
  readonly actions: readonly PushAction[];
  /** Of override and underride rules. */
  readonly conditions?: readonly PushCondition[];
  /** Of content rules. */
  readonly pattern?: string;
};

/**
 * All rules of one user, most important first within each kind. `postcontent` (MSC4306) is asked after `content`; users have
 * no rules of their own there.
 */
export type PushRuleset = Readonly<Record<PushRuleKind, readonly PushRule[]>> & {
  readonly postcontent?: readonly PushRule[];
};

/** The kinds that there are rules of, whether or not users may have their own. */
export type AnyPushRuleKind = PushRuleKind | 'postcontent';

/** Whether `text` names a kind of push rule. */
export function isPushRuleKind(text: string): text is PushRuleKind {
  return (PUSH_RULE_KINDS as readonly string[]).includes(text);
}

/**
 * The actions in `value` without those that have become meaningless (spec: "Historical Actions"); undefined where it is no
 * list of actions.
 */
export function parsePushActions(value: JsonValue | undefined): readonly PushAction[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const actions: PushAction[] = [];
  for (const action of value as readonly JsonValue[]) {
    if (typeof action === 'string') {
      if (action !== 'dont_notify' && action !== 'coalesce') actions.push(action);
    } else if (typeof action === 'object' && action !== null && 'set_tweak' in action) {
      if (typeof action.set_tweak !== 'string') return undefined;
      actions.push(action);
    } else {
      return undefined;
    }
  }
  return actions;
}
