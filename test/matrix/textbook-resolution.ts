import { authStateOf } from '../../server/matrix/auth-rules/auth-state.ts';
import { checkAuthRules } from '../../server/matrix/auth-rules/check.ts';
import { type RoomEvent, type StateKey, type StateMap, stateKeyOf } from '../../server/matrix/events/event.ts';
import { type EventId, isEventId } from '../../server/matrix/identifiers.ts';
import { readPowerLevels } from '../../server/matrix/power-levels.ts';

/**
 * State resolution of room versions 2 to 12 written down as the definitions read, with no thought of cost: what the real
 * one is compared with.
 */
export function textbookResolution(
  all: ReadonlyMap<EventId, RoomEvent>,
  rejected: ReadonlySet<EventId>,
  stateSets: readonly StateMap[],
): StateMap {
  const version = [...all.values()][0]?.version;
  const isV21 = version?.stateResolution === 'v2.1';

  const keys = new Set(stateSets.flatMap((state) => [...state.keys()]));
  const unconflicted = new Map<StateKey, EventId>();
  const conflicted = new Set<EventId>();
  for (const key of keys) {
    const values = new Set(stateSets.map((state) => state.get(key)));
    const [value] = values;
    if (values.size === 1 && value !== undefined) unconflicted.set(key, value);
    else for (const id of values) if (id !== undefined) conflicted.add(id);
  }
  if (conflicted.size === 0) return unconflicted;

  const chains = new Map<EventId, ReadonlySet<EventId>>();
  const chainWithSelf = (id: EventId): ReadonlySet<EventId> => {
    const known = chains.get(id);
    if (known) return known;
    const chain = new Set([id, ...(all.get(id)?.authEvents ?? []).flatMap((authId) => [...chainWithSelf(authId)])]);
    chains.set(id, chain);
    return chain;
  };
  const chainsOfStates = stateSets.map((state) => new Set([...state.values()].flatMap((id) => [...chainWithSelf(id)])));
  const isBetween = (id: EventId) =>
    [...conflicted].some((from) => chainWithSelf(from).has(id)) &&
    [...conflicted].some((to) => chainWithSelf(id).has(to));
  const full = [...all.values()].filter(({ eventId }) => {
    const reaching = chainsOfStates.filter((chain) => chain.has(eventId)).length;
    const differs = reaching > 0 && reaching < stateSets.length;
    return conflicted.has(eventId) || differs || (isV21 && isBetween(eventId));
  });

  const authEvent = (event: RoomEvent, type: string): RoomEvent | undefined => {
    if (type === 'm.room.create' && event.version.roomIdIsCreateHash) {
      const id = event.roomId.replace('!', '$');
      return isEventId(id) ? all.get(id) : undefined;
    }
    return event.authEvents.map((id) => all.get(id)).find((cited) => cited?.type === type && cited.stateKey === '');
  };
  const power = (event: RoomEvent) =>
    readPowerLevels(authEvent(event, 'm.room.create'), authEvent(event, 'm.room.power_levels')).powerLevelOf(
      event.sender,
    );
  const older = (one: RoomEvent, other: RoomEvent) =>
    one.originServerTs < other.originServerTs ||
    (one.originServerTs === other.originServerTs && one.eventId < other.eventId);

  // 1
  const isPowerEvent = ({ type, stateKey, sender, content }: RoomEvent) =>
    (['m.room.power_levels', 'm.room.join_rules'].includes(type) && stateKey === '') ||
    (type === 'm.room.member' &&
      ['leave', 'ban'].some((membership) => membership === content['membership']) &&
      sender !== stateKey);
  let chosen = full.filter(isPowerEvent);
  for (;;) {
    const cited = full.filter((event) => chosen.some((by) => by.authEvents.includes(event.eventId)));
    const more = [...new Set([...chosen, ...cited])];
    if (more.length === chosen.length) break;
    chosen = more;
  }
  const order: RoomEvent[] = [];
  while (order.length < chosen.length) {
    const open = chosen.filter((event) => !order.includes(event));
    const next = open
      .filter((event) => !open.some((other) => event.authEvents.includes(other.eventId)))
      .reduce((best, event) =>
        power(event) > power(best) || (power(event) === power(best) && older(event, best)) ? event : best,
      );
    order.push(next);
  }
  // 2
  const state = new Map<StateKey, EventId>(isV21 ? [] : unconflicted);
  const apply = (event: RoomEvent) => {
    const create = authEvent(event, 'm.room.create');
    const cited = event.authEvents.filter((id) => !rejected.has(id)).flatMap((id) => all.get(id) ?? []);
    const current = [...state.values()].flatMap((id) => all.get(id) ?? []);
    const auth = authStateOf([...(create ? [create] : []), ...cited, ...current]);
    if (checkAuthRules(event, auth).allowed) state.set(stateKeyOf(event.type, event.stateKey ?? ''), event.eventId);
  };
  for (const event of order) apply(event);
  // 3
  const mainline: RoomEvent[] = [];
  const base = state.get(stateKeyOf('m.room.power_levels', ''));
  for (let event = base && all.get(base); event; event = authEvent(event, 'm.room.power_levels')) mainline.push(event);
  const position = (event: RoomEvent): number => {
    const behind = authEvent(event, 'm.room.power_levels');
    if (!behind) return Number.POSITIVE_INFINITY;
    return mainline.includes(behind) ? mainline.indexOf(behind) : position(behind);
  };
  const rest = full
    .filter((event) => !chosen.includes(event))
    .sort((one, other) => {
      const [left, right] = [position(one), position(other)];
      if (left !== right) return left > right ? -1 : 1;
      return older(one, other) ? -1 : 1;
    });
  // 4
  for (const event of rest) apply(event);
  // 5
  return new Map([...state, ...unconflicted]);
}
