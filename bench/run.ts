/**
 * Measures what the design has budgets for, each figure beside a floor measured in the same run: machines differ, and one
 * machine differs from hour to hour, but how far we are from what it can do at best does not.
 *
 * Usage: node bench/run.ts [--quick]   (without the rows that take minutes to prepare)
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { median, milliseconds, perSecond, printTable, type Row, times } from './figures.ts';
import { measureCommit, measureReply, measureSignature } from './floors.ts';
import { measureInitialSync, MEMBERS, ROOMS, seedRooms } from './initial-sync.ts';
import { LISTENERS, measurePushRules } from './push-rules.ts';
import { measureBytes, measureSends, measureWakeUp } from './sends.ts';
import { makeDataDir, registerUser, residentBytes, startProcess } from './server-process.ts';
import { measureSearch, MESSAGES } from './search.ts';
import { measureSlidingSync } from './sliding-sync.ts';
import { measureStateResolution } from './state-resolution.ts';
import { HEIGHT, measureThumbnails, WIDTH } from './thumbnails.ts';
import { CONFLICTS, LARGE, MANY_CONFLICTS, measureStoredResolution, SMALL } from './stored-resolution.ts';

const quick = process.argv.includes('--quick');
const rows: Row[] = [];

console.log('Floors: what this machine needs for the bare thing.');
const { ms: commitMs, bytes: rowBytes } = measureCommit();
const signatureMs = measureSignature();
const reply = await measureReply();
console.log(`  one insert with its commit to disk   ${milliseconds(commitMs)}`);
console.log(`  one Ed25519 signature                ${milliseconds(signatureMs)}`);
console.log(
  `  one reply of bare Koa                ${milliseconds(reply.oneMs)}, ${perSecond(reply.perSecond)} over 16`,
);
console.log('');

const bareStart = await measureBareStart();
const data = await makeDataDir();
try {
  const starts: number[] = [];
  for (let n = 0; n < 5; n += 1) {
    const server = await startProcess(data.config, data.port);
    starts.push(server.startMs);
    await server.stop();
  }
  rows.push({
    what: 'cold start to the first answer, empty database',
    figure: milliseconds(median(starts)),
    budget: '500 ms',
    ratio: times(median(starts), bareStart, 'node with nothing to run'),
  });

  let server = await startProcess(data.config, data.port);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  rows.push({
    what: 'resident memory, idle',
    figure: `${Math.round(residentBytes(server.pid) / 1e6)} MB`,
    budget: '120 MB',
    ratio: times(residentBytes(server.pid), process.memoryUsage.rss(), 'this bench process'),
  });
  const sends = await measureSends(data.port);
  const floorMs = commitMs + signatureMs + reply.oneMs;
  rows.push({
    what: 'one send, p50',
    figure: milliseconds(sends.oneMs),
    budget: '3 ms',
    ratio: times(sends.oneMs, floorMs, '(commit + signature + reply)'),
  });
  rows.push({
    what: 'sends over 16 connections',
    figure: perSecond(sends.perSecond),
    budget: '2,000/s',
    ratio: `${((100 * sends.perSecond) / reply.perSecond).toFixed(0)} % of bare Koa replies`,
  });
  const wakeMs = await measureWakeUp(data.port);
  rows.push({
    what: '/sync wakes after a send, p50',
    figure: milliseconds(wakeMs),
    budget: '5 ms',
    ratio: times(wakeMs, floorMs + reply.oneMs, '(commit + signature + 2 replies)'),
  });
  rows.push({
    what: 'resident memory after the sends',
    figure: `${Math.round(residentBytes(server.pid) / 1e6)} MB`,
    budget: '',
    ratio: times(residentBytes(server.pid), process.memoryUsage.rss(), 'this bench process'),
  });

  const restart = async (): Promise<void> => {
    // A stop writes the log back into the database file: only then its size says something.
    await server.stop();
    server = await startProcess(data.config, data.port);
  };
  const bytes = await measureBytes(data.port, join(data.dir, 'homeserver.db'), restart);
  rows.push({
    what: 'database bytes per message',
    figure: `${Math.round(bytes)} B`,
    budget: '1,200 B',
    ratio: times(bytes, rowBytes, 'a bare row of 700 bytes'),
  });
  const drawn = await measureThumbnails(data.port, server.pid);
  rows.push({
    what: `thumbnails of pictures of ${WIDTH} × ${HEIGHT}`,
    figure: `${drawn.perSecond.toFixed(1)}/s`,
    budget: '',
    ratio: `${((100 * drawn.perSecond) / drawn.barePerSecond).toFixed(0)} % of bare sharp, two at a time`,
  });
  rows.push({
    what: 'most memory while they are drawn',
    figure: `${Math.round(drawn.peakBytes / 1e6)} MB`,
    budget: '',
    ratio: `${times(drawn.peakBytes, drawn.barePeakBytes, 'bare sharp')}; the server's own grew by ${Math.round(drawn.serverBytes / 1e6)} MB`,
  });
  await server.stop();
} finally {
  data.remove();
}

const resolutionMs = measureStateResolution();
rows.push({
  what: 'state resolution, 2 × 5,000 events, 100 conflicts',
  figure: milliseconds(resolutionMs),
  budget: '200 ms',
  ratio: times(resolutionMs, signatureMs, 'one signature'),
});

const stored = await measureStoredResolution();
const count = (value: number): string => value.toLocaleString('en');
rows.push({
  what: `stored states resolved, ${count(LARGE)} events, ${CONFLICTS} conflicts`,
  figure: milliseconds(stored.largeMs),
  budget: '',
  ratio: times(stored.largeMs, stored.smallMs, `the same with ${count(SMALL)} events`),
});
rows.push({
  what: `event loop held while ${count(MANY_CONFLICTS)} conflicts are resolved`,
  figure: milliseconds(stored.stallMs),
  budget: '20 ms',
  ratio: times(stored.stallMs, stored.slicedMs, 'all it takes'),
});

const pushRules = measurePushRules();
rows.push({
  what: `a message held against the push rules of ${LISTENERS} members`,
  figure: milliseconds(pushRules.ms),
  budget: '',
  ratio: times(pushRules.ms, pushRules.defaultMs, 'the same with the default rules alone'),
});

if (!quick) {
  const search = await measureSearch();
  rows.push({
    what: `indexing ${count(MESSAGES)} messages that were there before`,
    figure: perSecond(search.perSecond),
    budget: '',
    ratio: `${((100 * search.perSecond) / search.barePerSecond).toFixed(0)} % of bare FTS5`,
  });
  rows.push({
    what: 'event loop held meanwhile',
    figure: milliseconds(search.indexingStallMs),
    budget: '20 ms',
    ratio: times(search.indexingStallMs, commitMs, 'one commit'),
  });
  rows.push({
    what: `a search in ${count(MESSAGES)} messages for a word of few`,
    figure: milliseconds(search.rareMs),
    budget: '',
    ratio: times(search.rareMs, search.bareMs, 'a bare look into FTS5'),
  });
  rows.push({
    what: 'a search for a word of most',
    figure: milliseconds(search.commonMs),
    budget: '',
    ratio: times(search.commonMs, search.rareMs, 'that for a rare one'),
  });
  rows.push({
    what: 'event loop held by searches',
    figure: milliseconds(search.searchingStallMs),
    budget: '20 ms',
    ratio: times(search.searchingStallMs, search.commonMs, 'all it takes'),
  });

  const big = await makeDataDir();
  try {
    let server = await startProcess(big.config, big.port);
    const viewer = await registerUser(big.port, 'viewer');
    await server.stop();
    await seedRooms(big.config, 'viewer');
    server = await startProcess(big.config, big.port);
    const size = statSync(join(big.dir, 'homeserver.db')).size;
    rows.push({
      what: `cold start, database of ${Math.round(size / 1e6)} MB`,
      figure: milliseconds(server.startMs),
      budget: '1,000 ms',
      ratio: times(server.startMs, bareStart, 'node with nothing to run'),
    });
    const { ms, bytes } = await measureInitialSync(big.port, viewer.token);
    rows.push({
      what: `initial /sync, ${ROOMS} rooms × ${MEMBERS} members, ${Math.round(bytes / 1000)} kB`,
      figure: milliseconds(ms),
      budget: '500 ms',
      ratio: times(ms, reply.oneMs, 'one reply'),
    });
    const sliding = await measureSlidingSync(big.port, viewer.token, ROOMS);
    rows.push({
      what: `sliding sync, first 20 of ${ROOMS} rooms, ${Math.round(sliding.windowBytes / 1000)} kB`,
      figure: milliseconds(sliding.windowMs),
      budget: '100 ms',
      ratio: times(sliding.windowMs, ms, 'the initial /sync'),
    });
    rows.push({
      what: `sliding sync, from 20 to ${ROOMS} rooms`,
      figure: milliseconds(sliding.growthMs),
      budget: '',
      ratio: times(sliding.growthMs, ms, 'the initial /sync'),
    });
    rows.push({
      what: `sliding sync, one of ${ROOMS} rooms changed`,
      figure: milliseconds(sliding.changeMs),
      budget: '5 ms',
      ratio: times(sliding.changeMs, reply.oneMs, 'one reply'),
    });
    rows.push({
      what: `sliding sync, nothing new in ${ROOMS} rooms`,
      figure: milliseconds(sliding.quietMs),
      budget: '',
      ratio: times(sliding.quietMs, reply.oneMs, 'one reply'),
    });
    await server.stop();
  } finally {
    big.remove();
  }
}

printTable(rows);

/** Starting Node with an empty program, ms (median): the floor of any start. */
async function measureBareStart(): Promise<number> {
  const { spawnSync } = await import('node:child_process');
  const spent: number[] = [];
  for (let n = 0; n < 5; n += 1) {
    const start = performance.now();
    spawnSync(process.execPath, ['-e', '']);
    spent.push(performance.now() - start);
  }
  return median(spent);
}
