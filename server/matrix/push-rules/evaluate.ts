import type { RoomEvent } from '../events/event.ts';
import type { JsonValue } from '../json.ts';
import { type Condition, compileCondition, eventMatch, type PushContext, type PushEvent } from './conditions.ts';
import { foldCase } from './glob.ts';
import type { PushAction, PushCondition, PushRule, PushRuleset } from './rules.ts';

/** What a user's rules say about an event. */
export interface PushOutcome {
  readonly notify: boolean;
  readonly highlight: boolean;
  /** The sound to play; undefined for none. */
  readonly sound: string | undefined;
  /** The actions of the rule that decided. */
  readonly actions: readonly PushAction[];
  /** The rule that decided; undefined where none matched. */
  readonly ruleId: string | undefined;
}

/** A user's rules, made ready. */
export interface CompiledRuleset {
  /** Asked in this order; the first that matches decides. */
  readonly rules: readonly CompiledRule[];
}

interface CompiledRule {
  readonly conditions: readonly Condition[];
  readonly outcome: PushOutcome;
}

const SILENCE: PushOutcome = { notify: false, highlight: false, sound: undefined, actions: [], ruleId: undefined };

/** Makes an event ready to be asked by the rules of many users; once an event, not once a user. */
export function preparePushEvent(event: RoomEvent): PushEvent {
  const body = event.content['body'];
  // Only what clients see too: their verdict on an encrypted event, once decrypted, should not differ from ours.
  const properties: Record<string, JsonValue> = {
    content: event.content,
    event_id: event.eventId,
    origin_server_ts: event.originServerTs,
    room_id: event.roomId,
    sender: event.sender,
    type: event.type,
  };
  if (event.stateKey !== undefined) properties['state_key'] = event.stateKey;
  if (event.redacts !== undefined) properties['redacts'] = event.redacts;
  return {
    sender: event.sender,
    roomId: event.roomId,
    loweredBody: typeof body === 'string' ? foldCase(body) : undefined,
    properties,
  };
}

/** Makes a user's rules ready. Disabled rules are left out. */
export function compileRuleset(ruleset: PushRuleset): CompiledRuleset {
  const rules: CompiledRule[] = [];
  const add = (list: readonly PushRule[], conditionsOf: (rule: PushRule) => readonly Condition[]): void => {
    for (const rule of list) {
      if (rule.enabled) rules.push({ conditions: conditionsOf(rule), outcome: outcomeOf(rule) });
    }
  };
  const conditionsOf = (rule: PushRule): readonly Condition[] => (rule.conditions ?? []).map(compileShared);
  add(ruleset.override, conditionsOf);
  // A content rule that lost its pattern matches nothing.
  add(ruleset.content, ({ pattern }) => [pattern === undefined ? () => false : eventMatch('content.body', pattern)]);
  add(ruleset.postcontent ?? [], conditionsOf);
  add(ruleset.room, ({ rule_id }) => [({ roomId }) => roomId === rule_id]);
  add(ruleset.sender, ({ rule_id }) => [({ sender }) => sender === rule_id]);
  add(ruleset.underride, conditionsOf);
  return { rules };
}

/** What a user's rules say about an event. Nobody is notified of what they sent themselves. */
export function evaluate(ruleset: CompiledRuleset, event: PushEvent, context: PushContext): PushOutcome {
  if (event.sender === context.userId) return SILENCE;
  for (const { conditions, outcome } of ruleset.rules) {
    if (holdAll(conditions, event, context)) return outcome;
  }
  return SILENCE;
}

function holdAll(conditions: readonly Condition[], event: PushEvent, context: PushContext): boolean {
  for (const condition of conditions) {
    if (!condition(event, context)) return false;
  }
  return true;
}

function outcomeOf({ rule_id: ruleId, actions }: PushRule): PushOutcome {
  let highlight = false;
  let sound: string | undefined;
  for (const action of actions) {
    if (typeof action === 'string') continue;
    // A highlight without a value means true (spec: "Actions").
    if (action['set_tweak'] === 'highlight') highlight = action['value'] !== false;
    if (action['set_tweak'] === 'sound' && typeof action['value'] === 'string') sound = action['value'];
  }
  return { notify: actions.includes('notify'), highlight, sound, actions, ruleId };
}

// Users share the conditions of the default rules, object for object, and so share their compiled form.
const compiled = new WeakMap<PushCondition, Condition>();

function compileShared(condition: PushCondition): Condition {
  const known = compiled.get(condition);
  if (known !== undefined) return known;
  const made = compileCondition(condition);
  compiled.set(condition, made);
  return made;
}
