import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { type StateKey, stateKeyOf } from '../../matrix/events/event.ts';
import type { EventId } from '../../matrix/identifiers.ts';
import type { RoomState } from '../../rooms/types.ts';

/** Which state events are meant: of one type or any, with one state key or any. */
export interface StateElement {
  readonly type?: string | undefined;
  readonly stateKey?: string | undefined;
}

/** State a client asks for (MSC4186, `RequiredStateRequest`). */
export interface StateRule {
  readonly include: readonly StateElement[];
  readonly exclude: readonly StateElement[];
  /** Members only as the timeline needs them; whoever is named is told all the same. */
  readonly lazyMembers: boolean;
}

const MEMBER = 'm.room.member';
/** Characters of all that are remembered. */
const REMEMBERED = 4_194_304;

/** Some elements, made for being asked. */
class Elements {
  readonly list: readonly StateElement[];
  readonly types = new Set<string>();
  readonly #stateKeys = new Set<string>();
  readonly #pairs = new Map<string, Set<string>>();
  #all = false;

  constructor(list: readonly StateElement[]) {
    this.list = list;
    for (const { type, stateKey } of list) {
      if (type === undefined && stateKey === undefined) this.#all = true;
      else if (type === undefined) this.#stateKeys.add(stateKey ?? '');
      else if (stateKey === undefined) this.types.add(type);
      else this.#pairs.set(type, (this.#pairs.get(type) ?? new Set()).add(stateKey));
    }
  }

  get ofAnyType(): boolean {
    return this.#all || this.#stateKeys.size > 0;
  }

  /** Whether the type is meant by its name. */
  hasNamed(type: string, stateKey: string): boolean {
    return this.types.has(type) || this.#pairs.get(type)?.has(stateKey) === true;
  }

  has(type: string, stateKey: string): boolean {
    return this.#all || this.hasNamed(type, stateKey) || this.#stateKeys.has(stateKey);
  }

  /** Whether everything that `element` means is meant here too. */
  covers({ type, stateKey }: StateElement): boolean {
    if (this.#all || (type !== undefined && this.types.has(type))) return true;
    if (stateKey === undefined) return false;
    return this.#stateKeys.has(stateKey) || (type !== undefined && this.#pairs.get(type)?.has(stateKey) === true);
  }

  /** The types meant by name, with their state keys; `undefined` for any. */
  *named(): Generator<readonly [string, Iterable<string> | undefined]> {
    for (const type of this.types) yield [type, undefined];
    yield* this.#pairs;
  }

  /** State keys meant whatever the type. */
  stateKeys(): Iterable<string> {
    return this.#stateKeys;
  }

  get all(): boolean {
    return this.#all;
  }
}

class Rule {
  readonly include: Elements;
  readonly exclude: Elements;
  readonly lazyMembers: boolean;

  constructor({ include, exclude, lazyMembers }: StateRule) {
    this.include = new Elements(include);
    this.exclude = new Elements(exclude);
    this.lazyMembers = lazyMembers;
  }

  matches(type: string, stateKey: string): boolean {
    // "All state" does not mean the members of who loads them lazily.
    const included =
      this.lazyMembers && type === MEMBER ? this.include.hasNamed(type, stateKey) : this.include.has(type, stateKey);
    return included && !this.exclude.has(type, stateKey);
  }

  covers(other: Rule): boolean {
    if (this.lazyMembers && !other.lazyMembers && other.include.ofAnyType) return false;
    const excludesMore = this.exclude.list.some((element) => !other.exclude.covers(element));
    return !excludesMore && other.include.list.every((element) => this.include.covers(element));
  }
}

const remembered = new LRUCache<string, RequiredState>({
  maxSize: REMEMBERED,
  sizeCalculation: ({ text }) => text.length,
});

/** The state that one or several rules ask for, in one form: the same rules are the same object, mostly, and the same `text`. */
export class RequiredState {
  /** The rules as JSON; `parse` reads it. */
  readonly text: string;
  /** A short name for `text`. */
  readonly name: string;
  readonly lazyMembers: boolean;
  readonly #rules: readonly Rule[];

  private constructor(text: string, rules: readonly StateRule[]) {
    this.text = text;
    this.name = createHash('sha256').update(text).digest('base64url').slice(0, 22);
    this.#rules = rules.map((rule) => new Rule(rule));
    this.lazyMembers = rules.some((rule) => rule.lazyMembers);
  }

  static of(rules: readonly StateRule[]): RequiredState {
    const text = JSON.stringify(normalise(rules));
    return RequiredState.parse(text);
  }

  /** Of what `text` was. */
  static parse(text: string): RequiredState {
    const known = remembered.get(text);
    if (known !== undefined) return known;
    const rules: readonly StateRule[] = JSON.parse(text);
    const made = new RequiredState(text, rules);
    remembered.set(text, made);
    return made;
  }

  /** What either asks for. */
  union(other: RequiredState): RequiredState {
    if (other === this) return this;
    return RequiredState.of([...rulesOf(this), ...rulesOf(other)]);
  }

  matches(type: string, stateKey: string): boolean {
    return this.#rules.some((rule) => rule.matches(type, stateKey));
  }

  /** Whether `other` asks for nothing that this does not. When in doubt it says no. */
  covers(other: RequiredState): boolean {
    if (other.text === this.text) return true;
    return other.#rules.every((asked) => this.#rules.some((rule) => rule.covers(asked)));
  }

  /** What is asked for of a state. Reads no more of it than it must: members only if they are asked for. */
  select(state: RoomState): Map<StateKey, EventId> {
    const chosen = new Map<StateKey, EventId>();
    const choose = (type: string, stateKey: string, eventId: EventId | undefined): void => {
      if (eventId !== undefined && this.matches(type, stateKey)) chosen.set(stateKeyOf(type, stateKey), eventId);
    };
    if (this.#rules.some(({ include }) => include.ofAnyType)) {
      for (const [key, eventId] of state.entriesWithout(MEMBER)) {
        const cut = key.indexOf('\0');
        choose(key.slice(0, cut), key.slice(cut + 1), eventId);
      }
    }
    for (const { include, lazyMembers } of this.#rules) {
      if (include.all && !lazyMembers) {
        for (const [stateKey, eventId] of state.listType(MEMBER)) choose(MEMBER, stateKey, eventId);
      }
      for (const stateKey of include.stateKeys()) choose(MEMBER, stateKey, state.find(MEMBER, stateKey));
      for (const [type, stateKeys] of include.named()) {
        if (stateKeys === undefined) {
          for (const [stateKey, eventId] of state.listType(type)) choose(type, stateKey, eventId);
        } else {
          for (const stateKey of stateKeys) choose(type, stateKey, state.find(type, stateKey));
        }
      }
    }
    return chosen;
  }
}

function rulesOf({ text }: RequiredState): readonly StateRule[] {
  return JSON.parse(text);
}

/** Rules that leave nothing out can be joined; the others stay apart, or one would leave out what another asks for. */
function normalise(rules: readonly StateRule[]): StateRule[] {
  const lazy = new Map<string, StateElement>();
  const eager = new Map<string, StateElement>();
  const others = new Map<string, StateRule>();
  let isLazy = false;
  for (const { include, exclude, lazyMembers } of rules) {
    isLazy ||= lazyMembers;
    if (exclude.length === 0) for (const element of include) (lazyMembers ? lazy : eager).set(keyOf(element), element);
    else {
      const rule = { include: sorted(include), exclude: sorted(exclude), lazyMembers };
      others.set(JSON.stringify(rule), rule);
    }
  }
  const normal: StateRule[] = [];
  if (lazy.size > 0 || isLazy) normal.push({ include: sorted([...lazy.values()]), exclude: [], lazyMembers: true });
  if (eager.size > 0) normal.push({ include: sorted([...eager.values()]), exclude: [], lazyMembers: false });
  for (const [, rule] of [...others].sort(([a], [b]) => (a < b ? -1 : 1))) normal.push(rule);
  return normal;
}

function sorted(elements: readonly StateElement[]): StateElement[] {
  const byKey = new Map(elements.map((element) => [keyOf(element), element]));
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { type, stateKey }]) => ({ type, stateKey }));
}

function keyOf({ type, stateKey }: StateElement): string {
  return JSON.stringify([type ?? null, stateKey ?? null]);
}
