import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { registerUser, residentBytes } from './server-process.ts';

/** As a telephone takes them, pixels. */
export const WIDTH = 4_000;
export const HEIGHT = 3_000;
const PICTURES = 12;
const FRAME = { width: 800, height: 600 };
/** As many as are drawn at a time by the server. */
const LINES = 2;
const SAMPLE_MS = 20;

export interface ThumbnailFigures {
  readonly perSecond: number;
  /** Of the server and the processes that draw for it, bytes. */
  readonly peakBytes: number;
  /** The server's own share of it, more than it had before, bytes. */
  readonly serverBytes: number;
  /** The same pictures drawn by the library alone, two at a time. */
  readonly barePerSecond: number;
  /** What this process, which holds the pictures besides, has at most meanwhile, bytes. */
  readonly barePeakBytes: number;
}

/** Thumbnails of photographs that nobody has asked for before. */
export async function measureThumbnails(port: number, pid: number): Promise<ThumbnailFigures> {
  const { token } = await registerUser(port, 'photographer');
  const headers = { authorization: `Bearer ${token}` };
  const pictures: Buffer[] = [];
  for (let n = 0; n < PICTURES; n += 1) pictures.push(await photograph(n));
  const base = `http://127.0.0.1:${port}/_matrix`;
  const addresses: string[] = [];
  for (const picture of pictures) {
    const answer = await fetch(`${base}/media/v3/upload`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'image/jpeg' },
      body: new Uint8Array(picture),
    });
    const { content_uri: uri } = (await answer.json()) as { content_uri: string };
    addresses.push(uri.slice('mxc://'.length));
  }
  const before = residentBytes(pid);
  let peakBytes = 0;
  let serverPeak = 0;
  const timer = setInterval(() => {
    const own = residentBytes(pid);
    serverPeak = Math.max(serverPeak, own);
    peakBytes = Math.max(peakBytes, own + childrenOf(pid).reduce((sum, child) => sum + childBytes(child), 0));
  }, SAMPLE_MS);
  const ask = async (address: string): Promise<void> => {
    const answer = await fetch(
      `${base}/client/v1/media/thumbnail/${address}?width=${FRAME.width}&height=${FRAME.height}`,
      { headers },
    );
    const { length } = Buffer.from(await answer.arrayBuffer());
    if (answer.status !== 200 || length === 0) throw new Error(`a thumbnail is refused with ${answer.status}`);
  };
  // The processes are started by the first: that is paid once, not for each.
  await Promise.all(addresses.slice(0, LINES).map(ask));
  const perSecond = await rateOf(addresses.slice(LINES), ask);
  clearInterval(timer);
  return { perSecond, peakBytes, serverBytes: serverPeak - before, ...(await measureBare(pictures)) };
}

async function measureBare(
  pictures: readonly Buffer[],
): Promise<Pick<ThumbnailFigures, 'barePerSecond' | 'barePeakBytes'>> {
  const folder = mkdtempSync(join(tmpdir(), 'hearth-bench-'));
  try {
    const paths = pictures.map((picture, n) => {
      const path = join(folder, `${n}.jpg`);
      writeFileSync(path, picture);
      return path;
    });
    sharp.cache(false);
    sharp.concurrency(1);
    let barePeakBytes = 0;
    const timer = setInterval(() => {
      barePeakBytes = Math.max(barePeakBytes, process.memoryUsage.rss());
    }, SAMPLE_MS);
    const barePerSecond = await rateOf(paths, async (path) => {
      await sharp(path)
        .autoOrient()
        .resize({ ...FRAME, fit: 'inside' })
        .jpeg({ quality: 80 })
        .toFile(`${path}.small`);
    });
    clearInterval(timer);
    return { barePerSecond, barePeakBytes };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Does `work` for each, so many at a time as the server does; per second. */
async function rateOf<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<number> {
  const started = performance.now();
  const queue = [...items];
  await Promise.all(
    Array.from({ length: LINES }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
    }),
  );
  return items.length / ((performance.now() - started) / 1_000);
}

/** Different each, and with as much in it as a photograph has. */
function photograph(n: number): Promise<Buffer> {
  return sharp({
    create: {
      width: WIDTH,
      height: HEIGHT,
      channels: 3,
      background: { r: 10 * n, g: 100, b: 200 },
      noise: { type: 'gaussian', mean: 100 + n, sigma: 12 },
    },
  })
    .jpeg({ quality: 85 })
    .toBuffer();
}

/** Only where the system tells in files; elsewhere the memory is that of the server alone. */
function childrenOf(pid: number): number[] {
  if (process.platform !== 'linux') return [];
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

function childBytes(pid: number): number {
  try {
    return residentBytes(pid);
  } catch {
    // It has ended since it was listed.
    return 0;
  }
}
