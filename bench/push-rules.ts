import { effectiveRuleset } from '../server/matrix/push-rules/default-rules.ts';
import { compileRuleset, evaluate, preparePushEvent } from '../server/matrix/push-rules/evaluate.ts';
import type { PushContext } from '../server/matrix/push-rules/conditions.ts';
import { buildUserId, isServerName, type UserId } from '../server/matrix/identifiers.ts';
import { TestRoom } from '../test/matrix/event-builder.ts';
import { median } from './figures.ts';

/** People in the room whose rules an event is held against. */
export const LISTENERS = 200;
const EVENTS = 300;

function user(name: string): UserId {
  const server = 'hearth.bench';
  const id = isServerName(server) ? buildUserId(name, server) : undefined;
  if (id === undefined) throw new Error(`${name} makes no user ID`);
  return id;
}

/**
 * An event held against the rules of 200 members, each with some rules of their own, ms (median of many events); and the
 * same where all have only the default rules.
 */
export function measurePushRules(): { readonly ms: number; readonly defaultMs: number } {
  const room = new TestRoom('12');
  const state = room.start();
  const [sender] = [...room.events.values()].map((event) => event.sender);
  if (sender === undefined) throw new Error('the room has no creator');
  const members = Array.from({ length: LISTENERS }, (_, n) => user(`member${n}`));
  const own = members.map((userId, n) =>
    compileRuleset(
      effectiveRuleset(userId, {
        rules: {
          content: [0, 1, 2].map((k) => ({
            rule_id: `word${k}`,
            enabled: true,
            pattern: `keyword${n}-${k}`,
            actions: ['notify', { set_tweak: 'highlight' }],
          })),
          override: [
            {
              rule_id: 'quiet',
              enabled: true,
              conditions: [{ kind: 'event_match', key: 'content.body', pattern: 'off*topic' }],
              actions: [],
            },
          ],
          sender: [{ rule_id: `@nobody${n}:hearth.bench`, enabled: true, actions: [] }],
        },
      }),
    ),
  );
  const plain = members.map((userId) => compileRuleset(effectiveRuleset(userId)));
  const events = Array.from({ length: EVENTS }, (_, n) => {
    const content = { msgtype: 'm.text', body: `message ${n}: ${'some words of ordinary length '.repeat(5)}` };
    return room.send(state, { type: 'm.room.message', sender, content }).event;
  });
  const measure = (rulesets: typeof own): number => {
    const spent: number[] = [];
    for (const event of events) {
      const start = performance.now();
      const prepared = preparePushEvent(event);
      let notified = 0;
      for (const [n, ruleset] of rulesets.entries()) {
        const context: PushContext = {
          userId: members[n] ?? sender,
          displayName: `Member ${n}`,
          memberCount: LISTENERS,
          senderPowerLevel: 0,
          notificationPowerLevels: {},
        };
        if (evaluate(ruleset, prepared, context).notify) notified += 1;
      }
      spent.push(performance.now() - start);
      if (notified !== LISTENERS) throw new Error('somebody was not notified');
    }
    return median(spent);
  };
  return { ms: measure(own), defaultMs: measure(plain) };
}
