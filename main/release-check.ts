import { verify } from 'node:crypto';
import { parse } from 'yaml';
import { isObject } from './files.ts';

/** What a release consists of, as far as it matters whether it is the one that was signed. */
export interface Release {
  readonly version: string;
  /** Parts that an installer fetches by itself; no release of ours has any. */
  readonly packages?: unknown;
  readonly files: readonly { readonly url: string; readonly sha512: string }[];
}

interface Needs {
  readonly fetch: typeof fetch;
  /** Of the feed, where the release is described. */
  readonly feed: string;
  /** PEM. */
  readonly publicKey: string;
  readonly platform: NodeJS.Platform;
  readonly arch: string;
}

const MAX_BYTES = 256 * 1024;
const TIMEOUT_MS = 30_000;

/** The file of a feed that describes its newest release, as electron-builder names it. */
export function channelFile(platform: NodeJS.Platform, arch: string): string {
  if (platform === 'darwin') return 'latest-mac.yml';
  if (platform === 'win32') return 'latest.yml';
  return arch === 'x64' ? 'latest-linux.yml' : `latest-linux-${arch}.yml`;
}

/**
 * Whether `offered` is what the makers have signed (Ed25519, `<file>.sig` beside the file, in base64). Throws where the
 * feed cannot be read.
 */
export async function isSigned(offered: Release, { fetch, feed, publicKey, platform, arch }: Needs): Promise<boolean> {
  const address = `${feed.replace(/\/$/, '')}/${channelFile(platform, arch)}`;
  const description = await read(fetch, address);
  const signature = Buffer.from((await read(fetch, `${address}.sig`)).toString('ascii').trim(), 'base64');
  if (!verify(null, description, publicKey, signature) || (offered.packages ?? null) !== null) return false;
  const signed: unknown = parse(description.toString('utf8'));
  if (!isObject(signed) || signed['version'] !== offered.version || !Array.isArray(signed['files'])) return false;
  const known = new Set(signed['files'].filter(isObject).map(({ url, sha512 }) => `${String(sha512)} ${String(url)}`));
  return offered.files.length > 0 && offered.files.every(({ url, sha512 }) => known.has(`${sha512} ${url}`));
}

async function read(fetch: Needs['fetch'], address: string): Promise<Buffer> {
  const response = await fetch(address, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: 'error' });
  if (!response.ok || response.body === null) throw new Error(`${address}: status ${response.status}`);
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of response.body) {
    size += piece.byteLength;
    if (size > MAX_BYTES) throw new Error(`${address} is longer than it can be`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}
