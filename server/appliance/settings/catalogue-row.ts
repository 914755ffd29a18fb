import type { Setting } from '../contract.ts';

/** A setting as it stands in the catalogue. */
export type Row = readonly [
  path: string,
  kind: Setting['kind'],
  title: string,
  help: string,
  choices?: { readonly value: string; readonly title: string }[],
];
