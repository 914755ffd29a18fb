import type { Stall } from './stall-watch.ts';

/** What the bench asks of the house's process. */
export type Order =
  /** Begins to measure anew. */
  | { readonly kind: 'reset' }
  | { readonly kind: 'read' }
  /** These servers cannot be reached any more: nobody listens, nobody answers, nobody has such a name. */
  | { readonly kind: 'lose'; readonly servers: readonly string[] };

/** What was measured since the last reset. */
export interface Measured {
  readonly stall: Stall;
  /** Of all threads, ms. */
  readonly cpuMs: number;
  /** The most memory that was resident since the process began, bytes. */
  readonly peakBytes: number;
}

/** What the house's process reports: the port it answers on once it does, then the answer to each order. */
export type Report = { readonly kind: 'ready'; readonly port: number } | ({ readonly kind: 'done' } & Measured);
