import type { JsonValue } from '../../server/matrix/json.ts';

/** Values that have broken readers of JSON before, or look like something a server takes. */
const INTERESTING: readonly JsonValue[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  2 ** 31,
  2 ** 53,
  -(2 ** 53),
  1e300,
  '',
  '\0',
  '\ud83d',
  '__proto__',
  'x'.repeat(300),
  'm.room.create',
  'm.room.member',
  'm.room.power_levels',
  '@dora:away.test',
  '@alice:hearth.test',
  '@nobody:',
  '!room',
  '$event',
  `$${'A'.repeat(43)}`,
  'ed25519:1',
  'ban',
  'join',
  [],
  {},
  [[]],
  [null],
  { '': '' },
  { membership: 'join' },
];

/** Changes JSON at random, the same way for the same seed. */
export class Mutator {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** A number from 0 up to, but not including, `below`. */
  next(below: number): number {
    // A linear congruential generator with the constants of Numerical Recipes: good enough to hit every branch.
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * below);
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.next(items.length)];
    if (item === undefined) throw new RangeError('there is nothing to pick from');
    return item;
  }

  /** A copy with one to four things changed, anywhere in it. */
  mutate(value: JsonValue): JsonValue {
    let changed = value;
    for (let times = this.next(4) + 1; times > 0; times -= 1) changed = this.#change(changed, 0);
    return changed;
  }

  #change(value: JsonValue, depth: number): JsonValue {
    const goesOn = depth < 6 && this.next(5) > 0;
    if (Array.isArray(value) && goesOn) return this.#changeList(value as readonly JsonValue[], depth);
    if (typeof value === 'object' && value !== null && !Array.isArray(value) && goesOn) {
      return this.#changeObject(Object.entries(value), depth);
    }
    // The whole is replaced only now and then, or little else would be tried.
    return depth === 0 && this.next(20) > 0 ? value : this.#replace(value);
  }

  #changeList(list: readonly JsonValue[], depth: number): JsonValue {
    const copy = [...list];
    const at = this.next(copy.length + 1);
    const here = copy[at];
    const change = this.next(64);
    if (here === undefined || change < 16) copy.splice(at, 0, this.pick(INTERESTING));
    else if (change < 28) copy.splice(at, 1);
    else if (change < 37) copy.push(...Array.from({ length: this.next(30) }, () => here));
    else copy[at] = this.#change(here, depth + 1);
    return copy;
  }

  #changeObject(entries: readonly (readonly [string, JsonValue])[], depth: number): JsonValue {
    const copy = entries.map(([key, value]): [string, JsonValue] => [key, value]);
    const at = this.next(copy.length + 1);
    const here = copy[at];
    if (here === undefined) copy.push([this.#name(), this.pick(INTERESTING)]);
    else if (this.next(8) === 0) copy.splice(at, 1);
    else if (this.next(16) === 0) here[0] = this.#name();
    else here[1] = this.#change(here[1], depth + 1);
    return Object.fromEntries(copy);
  }

  #replace(value: JsonValue): JsonValue {
    if (typeof value === 'string' && value !== '' && this.next(2) === 0) return this.#changeText(value);
    if (typeof value === 'number' && this.next(2) === 0) return value + this.pick([-1, 1, 0.5, 1e6, -1e9]);
    return this.pick(INTERESTING);
  }

  #changeText(text: string): string {
    const at = this.next(text.length);
    switch (this.next(4)) {
      case 0:
        return text.slice(0, at);
      case 1:
        return text.slice(0, at) + String.fromCharCode(this.next(65_536)) + text.slice(at + 1);
      case 2:
        return text + text;
      default:
        return text.slice(0, at) + text.slice(at + 1);
    }
  }

  #name(): string {
    return this.pick([
      'type',
      'state_key',
      'sender',
      'content',
      'room_id',
      'event_id',
      'membership',
      'redacts',
      '__proto__',
      'constructor',
      '',
      'x',
    ]);
  }
}
