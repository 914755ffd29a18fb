// Writes without end until it is killed. Prints a line for each thing it was promised: `write <body> <position>` once
// it is committed, `memory <position>` for a position of `advance`, `follow <position>` when a follower's cursor moved.
import { writeSync } from 'node:fs';
import { openDatabase } from '../../server/storage/database.ts';
import { FollowerRunner } from '../../server/storage/followers.ts';
import { systemClock } from '../../server/util/clock.ts';
import { silentLogger } from '../../server/util/log.ts';
import { CopyFollower, copies } from './copy-follower.ts';
import { notes } from './temporary.ts';

const [path = '', round = ''] = process.argv.slice(2);
const db = openDatabase({ path, migrations: [notes, copies], log: silentLogger });
const follower = new CopyFollower(db, (now) => say(`follow ${now}`));
const runner = new FollowerRunner({ db, followers: [follower], log: silentLogger, clock: systemClock });
runner.start();

// Written whole or not at all, and at once: what the parent reads was said before the kill.
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

async function writer(name: string): Promise<never> {
  for (let i = 0; ; i += 1) {
    const body = `${round}/${name}/${i}`;
    const position = db.write((tx) => {
      const at = tx.nextPosition();
      follower.addSource(tx, at, body);
      return at;
    });
    await db.committed();
    say(`write ${body} ${position}`);
  }
}

async function typist(): Promise<never> {
  for (;;) {
    for (let i = 0; i < 40; i += 1) {
      const position = db.advance(['room:!kitchen']);
      await db.committed();
      say(`memory ${position}`);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

await Promise.all([writer('anna'), writer('ben'), writer('cleo'), typist()]);
