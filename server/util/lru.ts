const one = (): number => 1;

/**
 * Options of an `LRUCache` that keeps at most `count` entries and grows as they come. Its own `max` sets room aside for
 * all of them when it is made: over the caches of the whole server that is megabytes, and a tenth of its start.
 */
export function atMost(count: number): { readonly maxSize: number; readonly sizeCalculation: () => number } {
  return { maxSize: count, sizeCalculation: one };
}
