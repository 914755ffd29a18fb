import assert from 'node:assert/strict';
import { test } from 'node:test';

import { buildEvent, type EventDraft } from '../../../server/matrix/events/build.ts';
import type { JsonObject, JsonValue } from '../../../server/matrix/json.ts';
import type { PushContext } from '../../../server/matrix/push-rules/conditions.ts';
import {
  defaultRuleset,
  effectiveRuleset,
  findDefaultRuleKind,
  type PushCustomisations,
} from '../../../server/matrix/push-rules/default-rules.ts';
import {
  compileRuleset,
  evaluate,
  type PushOutcome,
  preparePushEvent,
} from '../../../server/matrix/push-rules/evaluate.ts';
import { isPushRuleKind, parsePushActions, type PushRule } from '../../../server/matrix/push-rules/rules.ts';
import { alice, bob, draft, someRoomId, version } from '../events/fixtures.ts';

/** What Bob's rules say of an event that, unless it says otherwise, Alice sent to a room of ten. */
function outcomeForBob(
  event: Partial<EventDraft>,
  { custom = {}, context = {} }: { custom?: PushCustomisations; context?: Partial<PushContext> } = {},
): PushOutcome {
  const built = buildEvent(draft(version('11'), event));
  return evaluate(compileRuleset(effectiveRuleset(bob, custom)), preparePushEvent(built), {
    userId: bob,
    displayName: 'Bob',
    memberCount: 10,
    senderPowerLevel: 0,
    notificationPowerLevels: {},
    ...context,
  });
}

const text = (body: string, more: JsonObject = {}): Partial<EventDraft> => ({
  content: { msgtype: 'm.text', body, ...more },
});
const state = (type: string, content: JsonObject = {}, stateKey = ''): Partial<EventDraft> => ({
  type,
  stateKey,
  content,
});
const override = (rule: Partial<PushRule>): PushCustomisations => ({
  rules: { override: [{ rule_id: 'mine', enabled: true, actions: ['notify'], ...rule }] },
});
/** Whether an override rule with this one condition matches. */
const holds = (condition: JsonObject, event: Partial<EventDraft>, context: Partial<PushContext> = {}): boolean =>
  outcomeForBob(event, { custom: override({ conditions: [condition] }), context }).ruleId === 'mine';

function decided(outcome: PushOutcome): [string | undefined, boolean, boolean, string | undefined] {
  return [outcome.ruleId, outcome.notify, outcome.highlight, outcome.sound];
}

test('.m.rule.message: a message in a group notifies quietly', () => {
  assert.deepEqual(decided(outcomeForBob(text('Dinner'))), ['.m.rule.message', true, false, undefined]);
});

test('.m.rule.room_one_to_one: a message between two plays the default sound', () => {
  const outcome = outcomeForBob(text('Dinner'), { context: { memberCount: 2 } });
  assert.deepEqual(decided(outcome), ['.m.rule.room_one_to_one', true, false, 'default']);
  assert.deepEqual(outcome.actions, ['notify', { set_tweak: 'sound', value: 'default' }]);
});

test('.m.rule.encrypted and .m.rule.encrypted_room_one_to_one: the same for what cannot be read', () => {
  const event = { type: 'm.room.encrypted', content: { algorithm: 'm.megolm.v1.aes-sha2' } };
  assert.deepEqual(decided(outcomeForBob(event)), ['.m.rule.encrypted', true, false, undefined]);
  assert.deepEqual(decided(outcomeForBob(event, { context: { memberCount: 2 } })), [
    '.m.rule.encrypted_room_one_to_one',
    true,
    false,
    'default',
  ]);
});

test('.m.rule.call: a call rings', () => {
  const call = { type: 'm.call.invite', content: { call_id: '1' } };
  assert.deepEqual(decided(outcomeForBob(call)), ['.m.rule.call', true, false, 'ring']);
});

test('.m.rule.suppress_notices: what a bot says does not notify', () => {
  assert.deepEqual(decided(outcomeForBob({ content: { msgtype: 'm.notice', body: 'Oven at 200' } })), [
    '.m.rule.suppress_notices',
    false,
    false,
    undefined,
  ]);
});

test('.m.rule.invite_for_me and .m.rule.member_event: Bob hears of his own invite, but not of others coming and going', () => {
  assert.deepEqual(decided(outcomeForBob(state('m.room.member', { membership: 'invite' }, bob))), [
    '.m.rule.invite_for_me',
    true,
    false,
    'default',
  ]);
  const others = [
    state('m.room.member', { membership: 'invite' }, '@carol:carol.example'),
    state('m.room.member', { membership: 'join' }, alice),
    state('m.room.member', { membership: 'ban' }, bob),
  ];
  for (const event of others)
    assert.deepEqual(decided(outcomeForBob(event)), ['.m.rule.member_event', false, false, undefined]);
});

test('.m.rule.is_user_mention: who is mentioned is alerted, who merely has their name in the text is not', () => {
  const mention = (userIds: readonly JsonValue[]) => text('Dinner', { 'm.mentions': { user_ids: userIds } });
  assert.deepEqual(decided(outcomeForBob(mention(['@carol:carol.example', bob]))), [
    '.m.rule.is_user_mention',
    true,
    true,
    'default',
  ]);
  assert.equal(outcomeForBob(mention([alice])).ruleId, '.m.rule.message');
  assert.equal(outcomeForBob(mention([bob.toUpperCase(), 5, null])).ruleId, '.m.rule.message');
  assert.equal(outcomeForBob(text('Bob, dinner! @bob:bob.example')).ruleId, '.m.rule.message');
});

test('.m.rule.is_room_mention: only who has the power level may alert everybody', () => {
  const event = text('Dinner', { 'm.mentions': { room: true } });
  const by = (senderPowerLevel: number, notificationPowerLevels = {}) =>
    outcomeForBob(event, { context: { senderPowerLevel, notificationPowerLevels } });
  assert.deepEqual(decided(by(50)), ['.m.rule.is_room_mention', true, true, undefined]);
  assert.equal(by(49).ruleId, '.m.rule.message');
  assert.equal(by(50, { room: 51 }).ruleId, '.m.rule.message');
  assert.equal(by(0, { room: 0 }).ruleId, '.m.rule.is_room_mention');
  assert.equal(by(Number.POSITIVE_INFINITY, { room: 2 ** 50 }).ruleId, '.m.rule.is_room_mention');
  assert.equal(outcomeForBob(text('Dinner', { 'm.mentions': { room: 'true' } })).ruleId, '.m.rule.message');
  // Power is asked of the room, not of what every object inherits.
  assert.ok(
    !holds({ kind: 'sender_notification_permission', key: 'constructor' }, text('x'), { senderPowerLevel: 49 }),
  );
});

test('.m.rule.tombstone: everybody is alerted when a room is left behind, by state and nothing else', () => {
  const content = { body: 'moved', replacement_room: '!new:alice.example' };
  assert.deepEqual(decided(outcomeForBob(state('m.room.tombstone', content))), [
    '.m.rule.tombstone',
    true,
    true,
    undefined,
  ]);
  assert.equal(outcomeForBob({ type: 'm.room.tombstone', content }).ruleId, undefined);
  assert.equal(outcomeForBob(state('m.room.tombstone', content, 'x')).ruleId, undefined);
});

test('.m.rule.reaction, .m.rule.room.server_acl and .m.rule.suppress_edits silence what needs no attention', () => {
  const reaction = {
    type: 'm.reaction',
    content: { 'm.relates_to': { rel_type: 'm.annotation', event_id: '$e', key: '👍' } },
  };
  assert.deepEqual(decided(outcomeForBob(reaction)), ['.m.rule.reaction', false, false, undefined]);
  assert.deepEqual(decided(outcomeForBob(state('m.room.server_acl', { allow: ['*'] }))), [
    '.m.rule.room.server_acl',
    false,
    false,
    undefined,
  ]);
  const edit = text('* Supper', { 'm.relates_to': { rel_type: 'm.replace', event_id: '$e' } });
  assert.deepEqual(decided(outcomeForBob(edit)), ['.m.rule.suppress_edits', false, false, undefined]);
});

test('an edit that mentions Bob still alerts him', () => {
  const edit = text('* Supper', { 'm.relates_to': { rel_type: 'm.replace' }, 'm.mentions': { user_ids: [bob] } });
  assert.equal(outcomeForBob(edit).ruleId, '.m.rule.is_user_mention');
});

test('.m.rule.master: once enabled nothing notifies, not even what Bob asked for himself', () => {
  const custom: PushCustomisations = {
    ...override({ conditions: [] }),
    defaults: new Map([['.m.rule.master', { enabled: true }]]),
  };
  const mention = text('Dinner', { 'm.mentions': { user_ids: [bob] } });
  assert.deepEqual(decided(outcomeForBob(mention, { custom })), ['.m.rule.master', false, false, undefined]);
});

test('other state notifies nobody, and no rule decided', () => {
  assert.deepEqual(outcomeForBob(state('m.room.topic', { topic: 'Bob' })), {
    notify: false,
    highlight: false,
    sound: undefined,
    actions: [],
    ruleId: undefined,
  });
});

test('nobody is notified of what they sent themselves', () => {
  const outcome = outcomeForBob({ ...text('Bob', { 'm.mentions': { user_ids: [bob] } }), sender: bob });
  assert.deepEqual(decided(outcome), [undefined, false, false, undefined]);
});

test('the default rules are those of the spec, in its order, and after them those for polls', () => {
  const poll = (name: string): string => `.org.matrix.msc3930.rule.${name}`;
  const ids = (rules: readonly PushRule[]) => rules.map(({ rule_id }) => rule_id.replace('.m.rule.', ''));
  const rules = defaultRuleset(bob);
  assert.deepEqual(ids(rules.override), [
    'master',
    'suppress_notices',
    'invite_for_me',
    'member_event',
    'is_user_mention',
    'is_room_mention',
    'tombstone',
    'reaction',
    'room.server_acl',
    'suppress_edits',
    poll('poll_response'),
  ]);
  assert.deepEqual(ids(rules.underride), [
    'call',
    'encrypted_room_one_to_one',
    'room_one_to_one',
    'message',
    'encrypted',
    poll('poll_start_one_to_one'),
    poll('poll_start'),
    poll('poll_end_one_to_one'),
    poll('poll_end'),
  ]);
  assert.deepEqual([rules.content, rules.room, rules.sender], [[], [], []]);
  const all = [...rules.override, ...rules.underride];
  assert.ok(all.every((rule) => rule.default && rule.enabled === (rule.rule_id !== '.m.rule.master')));
  assert.equal(findDefaultRuleKind('.m.rule.call'), 'underride');
  assert.equal(findDefaultRuleKind('.m.rule.reaction'), 'override');
  assert.equal(findDefaultRuleKind('mine'), undefined);
  assert.deepEqual(effectiveRuleset(bob), rules);
});

test('kinds are asked in turn: override, content, room, sender, underride', () => {
  const rule = (rule_id: string, more: Partial<PushRule> = {}) => ({ rule_id, enabled: true, actions: [], ...more });
  const rules = {
    override: [rule('o', { conditions: [{ kind: 'event_match', key: 'content.body', pattern: 'first' }] })],
    content: [rule('c', { pattern: 'second' })],
    room: [rule(someRoomId(version('11')))],
    sender: [rule(alice)],
    underride: [rule('u', { conditions: [] })],
  };
  const decidedBy = (body: string, kinds: PushCustomisations['rules']) =>
    outcomeForBob(text(body), { custom: { rules: kinds ?? {} } }).ruleId;
  const { override: _override, content: _content, ...withoutContent } = rules;
  const { room: _room, ...withoutRoom } = withoutContent;
  const { sender: _sender, ...withoutSender } = withoutRoom;
  assert.equal(decidedBy('second and first', rules), 'o');
  assert.equal(decidedBy('second', rules), 'c');
  assert.equal(decidedBy('third', rules), '!room:alice.example');
  assert.equal(decidedBy('third', withoutRoom), alice);
  // Own rules stand above the default ones of their kind.
  assert.equal(decidedBy('third', withoutSender), 'u');
});

test('of two rules of a kind that match, the upper one decides, and a disabled one never does', () => {
  const rule = (rule_id: string, pattern: string, enabled = true) => ({
    rule_id,
    pattern,
    enabled,
    actions: ['notify'],
  });
  const content = [rule('off', 'tea', false), rule('tea', 'tea'), rule('time', 'time')];
  assert.equal(outcomeForBob(text("It's time for tea"), { custom: { rules: { content } } }).ruleId, 'tea');
});

test('rules for a room or a sender say nothing of others', () => {
  const custom: PushCustomisations = {
    rules: {
      room: [{ rule_id: '!other:alice.example', enabled: true, actions: [] }],
      sender: [{ rule_id: '@carol:carol.example', enabled: true, actions: [] }],
    },
  };
  assert.equal(outcomeForBob(text('Dinner'), { custom }).ruleId, '.m.rule.message');
});

test('Bob may disable a default rule, or have it do something else', () => {
  const custom: PushCustomisations = {
    defaults: new Map([
      ['.m.rule.suppress_notices', { enabled: false }],
      ['.m.rule.message', { actions: ['notify', { set_tweak: 'highlight' }] }],
    ]),
  };
  assert.deepEqual(decided(outcomeForBob({ content: { msgtype: 'm.notice', body: 'x' } }, { custom })), [
    '.m.rule.message',
    true,
    true,
    undefined,
  ]);
  const merged = effectiveRuleset(bob, custom);
  assert.equal(merged.override.find(({ rule_id }) => rule_id === '.m.rule.suppress_notices')?.enabled, false);
  assert.equal(merged.underride.find(({ rule_id }) => rule_id === '.m.rule.message')?.enabled, true);
});

test('own rules are listed above the default ones, but below the master rule', () => {
  const merged = effectiveRuleset(bob, override({ conditions: [] })).override;
  assert.deepEqual(
    merged.slice(0, 3).map((rule) => [rule.rule_id, rule.default]),
    [
      ['.m.rule.master', true],
      ['mine', false],
      ['.m.rule.suppress_notices', true],
    ],
  );
});

test('tweaks are read as the spec says: a highlight without a value is one, and false is none', () => {
  const outcome = (actions: readonly (string | JsonObject)[]) =>
    decided(outcomeForBob(text('x'), { custom: override({ conditions: [], actions }) })).slice(1);
  assert.deepEqual(outcome(['notify', { set_tweak: 'highlight' }]), [true, true, undefined]);
  assert.deepEqual(outcome(['notify', { set_tweak: 'highlight', value: true }]), [true, true, undefined]);
  assert.deepEqual(outcome(['notify', { set_tweak: 'highlight', value: false }]), [true, false, undefined]);
  assert.deepEqual(outcome(['notify', { set_tweak: 'sound', value: 'bell.wav' }]), [true, false, 'bell.wav']);
  assert.deepEqual(outcome(['dont_notify']), [false, false, undefined]);
  assert.deepEqual(outcome(['coalesce']), [false, false, undefined]);
});

test('event_match compares a whole value without regard to case, and never what is not a string', () => {
  const match = (key: string, pattern: string) => ({ kind: 'event_match', key, pattern });
  const topic = state('m.room.topic', { topic: 'Lunch plans', count: 5, 'a.b': { 'c\\d': 'deep' }, list: ['x'] });
  assert.ok(holds(match('content.topic', 'lunc?*'), topic));
  assert.ok(holds(match('content.topic', 'LUNCH PLANS'), topic));
  assert.ok(!holds(match('content.topic', 'lunch'), topic));
  assert.ok(!holds(match('content.count', '*'), topic));
  assert.ok(!holds(match('content.missing', '*'), topic));
  assert.ok(!holds(match('content.list', '*'), topic));
  assert.ok(holds(match('content.a\\.b.c\\\\d', 'deep'), topic));
  assert.ok(!holds(match('content.a.b.c\\\\d', 'deep'), topic));
  assert.ok(!holds(match('content.constructor.name', '*'), topic));
  for (const [key, pattern] of [
    ['type', 'm.room.topic'],
    ['sender', alice],
    ['room_id', '!room:*'],
    ['event_id', '$*'],
    ['state_key', ''],
  ] as const) {
    assert.ok(holds(match(key, pattern), topic), key);
  }
  assert.ok(!holds(match('state_key', ''), text('no state')));
});

test('event_match on the body looks for words', () => {
  const match = (pattern: string) => ({ kind: 'event_match', key: 'content.body', pattern });
  assert.ok(holds(match('cake'), text('Who wants CAKE?')));
  assert.ok(!holds(match('cake'), text('Who wants pancakes?')));
  assert.ok(!holds(match('*'), { content: { body: 5 } }));
});

test('event_property_is compares exactly, without casting', () => {
  const is = (value: JsonValue, key = 'content.value') => ({ kind: 'event_property_is', key, value });
  const event = (value: JsonValue) => ({ content: { value } });
  for (const value of ['a', 5, -1, true, false, null, ''])
    assert.ok(holds(is(value), event(value)), JSON.stringify(value));
  for (const [wanted, found] of [
    [true, 'true'],
    [1, true],
    [1, '1'],
    [null, false],
    ['A', 'a'],
  ] as const) {
    assert.ok(!holds(is(wanted), event(found)), `${wanted} ${found}`);
  }
  assert.ok(!holds(is(null), { content: {} }));
  assert.ok(!holds(is(['a']), event(['a'])));
  assert.ok(!holds(is({}), event({})));
});

test('event_property_contains looks for one exact value in a list', () => {
  const contains = (value: JsonValue) => ({ kind: 'event_property_contains', key: 'content.alt_aliases', value });
  const event = { content: { alt_aliases: ['#somewhere:example.org', 5, null, ['x'], '#room:example.com'] } };
  for (const value of ['#room:example.com', 5, null]) assert.ok(holds(contains(value), event), JSON.stringify(value));
  for (const value of [':example.com', '5', true, ['x']])
    assert.ok(!holds(contains(value), event), JSON.stringify(value));
  assert.ok(!holds(contains('#room:example.com'), { content: { alt_aliases: '#room:example.com' } }));
});

test('contains_display_name finds the name as a word, whatever characters it has', () => {
  const condition = { kind: 'contains_display_name' };
  const found = (body: string, displayName: string | undefined) => holds(condition, text(body), { displayName });
  assert.ok(found('hey BOB!', 'Bob'));
  assert.ok(!found('bobsleigh', 'Bob'));
  assert.ok(found('hey (Bob)', '(Bob)'));
  assert.ok(found('hey B*b', 'B*b'));
  assert.ok(!found('hey Blob', 'B*b'));
  assert.ok(!found('hey', ''));
  assert.ok(!found('hey', undefined));
  assert.ok(!holds(condition, { content: {} }, { displayName: 'Bob' }));
});

test('room_member_count compares as its prefix says', () => {
  const held = (is: JsonValue) =>
    [1, 2, 3].filter((memberCount) => holds({ kind: 'room_member_count', is }, text('x'), { memberCount }));
  assert.deepEqual(held('2'), [2]);
  assert.deepEqual(held('==2'), [2]);
  assert.deepEqual(held('<2'), [1]);
  assert.deepEqual(held('<=2'), [1, 2]);
  assert.deepEqual(held('>2'), [3]);
  assert.deepEqual(held('>=2'), [2, 3]);
  for (const wrong of ['', '=2', '!=2', '2.0', 'two', '>', ' 2', 2, null])
    assert.deepEqual(held(wrong), [], String(wrong));
});

test('a condition of an unknown kind, or without its parameters, never holds', () => {
  const conditions: readonly JsonObject[] = [
    { kind: 'org.example.moon_phase' },
    {},
    { kind: 'event_match', key: 'type' },
    { kind: 'event_match', pattern: '*' },
    { kind: 'event_property_is', key: 'type' },
    { kind: 'event_property_contains', value: 'x' },
    { kind: 'room_member_count' },
    { kind: 'sender_notification_permission' },
  ];
  for (const condition of conditions) {
    assert.ok(!holds(condition, text('x'), { senderPowerLevel: 100 }), JSON.stringify(condition));
  }
});

test('all conditions must hold, and no conditions always do', () => {
  const isMessage = { kind: 'event_match', key: 'type', pattern: 'm.room.message' };
  const isSmall = { kind: 'room_member_count', is: '<5' };
  const decidedBy = (conditions: readonly JsonObject[]) =>
    outcomeForBob(text('x'), { custom: override({ conditions }) }).ruleId;
  assert.equal(decidedBy([isMessage]), 'mine');
  assert.equal(decidedBy([isMessage, isSmall]), '.m.rule.message');
  assert.equal(decidedBy([]), 'mine');
});

test('rules see what clients see of an event, not how servers exchange it', () => {
  for (const key of ['depth', 'hashes.sha256', 'signatures.alice\\.example.ed25519:alice']) {
    assert.ok(!holds({ kind: 'event_match', key, pattern: '*' }, text('x')), key);
  }
  assert.ok(!holds({ kind: 'event_property_is', key: 'depth', value: 7 }, text('x')));
});

test('actions are read without those that history left behind, and what is no action is refused', () => {
  assert.deepEqual(parsePushActions(['notify', 'dont_notify', 'coalesce', { set_tweak: 'sound', value: 'ring' }]), [
    'notify',
    { set_tweak: 'sound', value: 'ring' },
  ]);
  assert.deepEqual(parsePushActions([]), []);
  for (const wrong of [undefined, 'notify', {}, [5], [null], [[]], [{}], [{ set_tweak: 5 }], [{ value: 'x' }]]) {
    assert.equal(parsePushActions(wrong as JsonValue), undefined, JSON.stringify(wrong));
  }
});

test('kinds of rule are told from other words', () => {
  assert.ok(isPushRuleKind('underride'));
  assert.ok(!isPushRuleKind('device'));
});
