import type { UserId } from '../identifiers.ts';
import type { AnyPushRuleKind, PushAction, PushCondition, PushRule, PushRuleKind, PushRuleset } from './rules.ts';

/** The one default rule that stands above the user's own. */
const MASTER = '.m.rule.master';

const NOTIFY: readonly PushAction[] = ['notify'];
const NOTIFY_ALOUD: readonly PushAction[] = ['notify', { set_tweak: 'sound', value: 'default' }];
const HIGHLIGHT: PushAction = { set_tweak: 'highlight' };

const matches = (key: string, pattern: string): PushCondition => ({ kind: 'event_match', key, pattern });
const isType = (type: string): PushCondition => matches('type', type);

// Polls are not in the spec yet; clients have them under these names (MSC3381), and rules for them (MSC3930).
const POLL_START = 'org.matrix.msc3381.poll.start';
const POLL_RESPONSE = 'org.matrix.msc3381.poll.response';
const POLL_END = 'org.matrix.msc3381.poll.end';
const pollRule = (name: string): string => `.org.matrix.msc3930.rule.${name}`;

const IN_PAIR: PushCondition = { kind: 'room_member_count', is: '2' };

function rule(id: string, conditions: readonly PushCondition[], actions: readonly PushAction[]): PushRule {
  return { rule_id: id, default: true, enabled: id !== MASTER, conditions, actions };
}

// Rules that do not name the user are made once, so that all users share them, and what is compiled from them.
const IS_INVITE: readonly PushCondition[] = [isType('m.room.member'), matches('content.membership', 'invite')];
const OVERRIDE_ABOVE_INVITES: readonly PushRule[] = [
  rule(MASTER, [], []),
  rule('.m.rule.suppress_notices', [matches('content.msgtype', 'm.notice')], []),
];
const MEMBER_EVENT: PushRule = rule('.m.rule.member_event', [isType('m.room.member')], []);
const OVERRIDE_BELOW_MENTIONS: readonly PushRule[] = [
  rule(
    '.m.rule.is_room_mention',
    [
      { kind: 'event_property_is', key: 'content.m\\.mentions.room', value: true },
      { kind: 'sender_notification_permission', key: 'room' },
    ],
    [...NOTIFY, HIGHLIGHT],
  ),
  rule('.m.rule.tombstone', [isType('m.room.tombstone'), matches('state_key', '')], [...NOTIFY, HIGHLIGHT]),
  rule('.m.rule.reaction', [isType('m.reaction')], []),
  rule('.m.rule.room.server_acl', [isType('m.room.server_acl'), matches('state_key', '')], []),
  rule(
    '.m.rule.suppress_edits',
    [{ kind: 'event_property_is', key: 'content.m\\.relates_to.rel_type', value: 'm.replace' }],
    [],
  ),
  // MSC3930: whoever asks wants to know of an answer no more than of a reaction.
  rule(pollRule('poll_response'), [isType(POLL_RESPONSE)], []),
];

/**
 * The rules every account starts with (spec: client-server API, "Predefined Rules"). Those that looked for names in the
 * body of a message are gone since v1.17: clients say whom they mention.
 */
export function defaultRuleset(userId: UserId, { followsThreads = false }: RulesetOptions = {}): PushRuleset {
  return {
    override: overrideRules(userId),
    content: [],
    ...(followsThreads ? { postcontent: POSTCONTENT } : {}),
    room: [],
    sender: [],
    underride: UNDERRIDE,
  };
}

export interface RulesetOptions {
  /** Whether users follow threads one by one, and hear of no others but where they are mentioned (MSC4306). */
  readonly followsThreads?: boolean;
}

/** The kind of the default rule `ruleId`; undefined where there is none. */
export function findDefaultRuleKind(ruleId: string): AnyPushRuleKind | undefined {
  return DEFAULT_KINDS.get(ruleId);
}

const overrideRules = (userId: UserId): readonly PushRule[] => [
  ...OVERRIDE_ABOVE_INVITES,
  rule('.m.rule.invite_for_me', [...IS_INVITE, matches('state_key', userId)], NOTIFY_ALOUD),
  MEMBER_EVENT,
  rule(
    '.m.rule.is_user_mention',
    [{ kind: 'event_property_contains', key: 'content.m\\.mentions.user_ids', value: userId }],
    [...NOTIFY_ALOUD, HIGHLIGHT],
  ),
  ...OVERRIDE_BELOW_MENTIONS,
];

const UNDERRIDE: readonly PushRule[] = [
  rule('.m.rule.call', [isType('m.call.invite')], [...NOTIFY, { set_tweak: 'sound', value: 'ring' }]),
  rule('.m.rule.encrypted_room_one_to_one', [IN_PAIR, isType('m.room.encrypted')], NOTIFY_ALOUD),
  rule('.m.rule.room_one_to_one', [IN_PAIR, isType('m.room.message')], NOTIFY_ALOUD),
  rule('.m.rule.message', [isType('m.room.message')], NOTIFY),
  rule('.m.rule.encrypted', [isType('m.room.encrypted')], NOTIFY),
  rule(pollRule('poll_start_one_to_one'), [IN_PAIR, isType(POLL_START)], NOTIFY_ALOUD),
  rule(pollRule('poll_start'), [isType(POLL_START)], NOTIFY),
  rule(pollRule('poll_end_one_to_one'), [IN_PAIR, isType(POLL_END)], NOTIFY_ALOUD),
  rule(pollRule('poll_end'), [isType(POLL_END)], NOTIFY),
];

const inThread = (subscribed: boolean): PushCondition => ({
  kind: 'io.element.msc4306.thread_subscription',
  subscribed,
});
const POSTCONTENT: readonly PushRule[] = [
  rule('.io.element.msc4306.rule.unsubscribed_thread', [inThread(false)], []),
  rule('.io.element.msc4306.rule.subscribed_thread', [inThread(true)], NOTIFY_ALOUD),
];

const DEFAULT_KINDS: ReadonlyMap<string, AnyPushRuleKind> = new Map<string, AnyPushRuleKind>([
  // Whose rules they are does not change which there are.
  ...overrideRules('@:' as UserId).map(({ rule_id }) => [rule_id, 'override'] as const),
  ...POSTCONTENT.map(({ rule_id }) => [rule_id, 'postcontent'] as const),
  ...UNDERRIDE.map(({ rule_id }) => [rule_id, 'underride'] as const),
]);

/** A rule that the user made, `default` being false. */
export type CustomPushRule = Omit<PushRule, 'default'>;

/** What a user changed about the default rules. */
export interface PushCustomisations {
  /** The user's own rules by kind, most important first. */
  readonly rules?: Readonly<Partial<Record<PushRuleKind, readonly CustomPushRule[]>>>;
  /** By the ID of a default rule: whether it is enabled, and what it does instead. */
  readonly defaults?: ReadonlyMap<
    string,
    { readonly enabled?: boolean | undefined; readonly actions?: readonly PushAction[] | undefined }
  >;
}

/**
 * All rules that hold for a user: the own ones above the default ones of the same kind, save `.m.rule.master`, which stands
 * above everything (spec: "Predefined Rules").
 */
export function effectiveRuleset(
  userId: UserId,
  customisations: PushCustomisations = {},
  options: RulesetOptions = {},
): PushRuleset {
  const defaults = defaultRuleset(userId, options);
  const changed = (original: PushRule): PushRule => {
    const change = customisations.defaults?.get(original.rule_id);
    if (change === undefined) return original;
    return {
      ...original,
      enabled: change.enabled ?? original.enabled,
      actions: change.actions ?? original.actions,
    };
  };
  const merge = (kind: PushRuleKind): readonly PushRule[] => {
    const own = (customisations.rules?.[kind] ?? []).map((custom) => ({ ...custom, default: false }));
    const standard = defaults[kind].map(changed);
    const above = standard.filter((candidate) => candidate.rule_id === MASTER);
    return [...above, ...own, ...standard.filter((candidate) => candidate.rule_id !== MASTER)];
  };
  return {
    override: merge('override'),
    content: merge('content'),
    ...(defaults.postcontent === undefined ? {} : { postcontent: defaults.postcontent.map(changed) }),
    room: merge('room'),
    sender: merge('sender'),
    underride: merge('underride'),
  };
}
