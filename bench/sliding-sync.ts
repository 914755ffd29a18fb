import { median } from './figures.ts';
import { LeanClient } from './server-process.ts';

const PATH = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';

const STATE = [
  ['m.room.name', ''],
  ['m.room.encryption', ''],
  ['m.room.member', '$LAZY'],
  ['m.room.member', '$ME'],
  ['m.room.avatar', ''],
  ['m.room.power_levels', ''],
  ['m.room.join_rules', ''],
  ['m.room.create', ''],
  ['m.space.child', '*'],
];

function bodyOf(connId: string, last: number): object {
  return {
    conn_id: connId,
    lists: { all_rooms: { ranges: [[0, last]], required_state: STATE, timeline_limit: 1, filters: {} } },
    extensions: {
      account_data: { enabled: true },
      receipts: { enabled: true, rooms: ['*'] },
      typing: { enabled: true },
    },
  };
}

export interface SlidingFigures {
  /** A first window of 20 rooms, ms (median). */
  readonly windowMs: number;
  readonly windowBytes: number;
  /** From there to all rooms in one step, ms. */
  readonly growthMs: number;
  /** An answer about one room in which something was said, all rooms being in the window, ms (median). */
  readonly changeMs: number;
  /** An answer that has nothing to tell, ms (median). */
  readonly quietMs: number;
}

/** Simplified sliding sync on the account that the initial /sync is measured on. */
export async function measureSlidingSync(port: number, token: string, rooms: number): Promise<SlidingFigures> {
  const client = new LeanClient(port, token);
  const time = async (path: string, body: object): Promise<{ ms: number; text: string }> => {
    const start = performance.now();
    const { status, text } = await client.send('POST', path, body);
    if (status !== 200) throw new Error(`sliding sync: ${status} ${text.slice(0, 200)}`);
    return { ms: performance.now() - start, text };
  };
  const windows: number[] = [];
  let answer = await time(PATH, bodyOf('bench', 19));
  for (let n = 0; n < 7; n += 1) {
    answer = await time(PATH, bodyOf('bench', 19));
    windows.push(answer.ms);
  }
  const windowBytes = answer.text.length;
  const next = (): string => `${PATH}?pos=${encodeURIComponent(JSON.parse(answer.text).pos)}`;
  const [roomId = ''] = Object.keys(JSON.parse(answer.text).rooms);
  answer = await time(next(), bodyOf('bench', rooms));
  const growthMs = answer.ms;
  const changes: number[] = [];
  const quiet: number[] = [];
  for (let n = 0; n < 30; n += 1) {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/sliding${n}`;
    await client.json('PUT', path, { msgtype: 'm.text', body: `message ${n}` });
    answer = await time(next(), bodyOf('bench', rooms));
    changes.push(answer.ms);
    answer = await time(next(), bodyOf('bench', rooms));
    quiet.push(answer.ms);
  }
  client.close();
  return { windowMs: median(windows), windowBytes, growthMs, changeMs: median(changes), quietMs: median(quiet) };
}
