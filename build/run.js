/**
 * What `npm start` runs: the bundle that build/start.ts has made of the server, or its source where there is none. In plain
 * JavaScript, or Node would load what strips types for this file alone.
 */
import { existsSync, readFileSync } from 'node:fs';

const bundles = new URL('../out/start/', import.meta.url);
const newest = new URL('newest', bundles);
const bundle = existsSync(newest) ? new URL(`${readFileSync(newest, 'utf8').trim()}/server/cli.js`, bundles) : undefined;
const source = new URL('../server/cli.ts', import.meta.url);
await import(bundle !== undefined && existsSync(bundle) ? bundle.href : source.href);
