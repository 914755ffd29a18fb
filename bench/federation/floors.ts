/** What this machine needs for the things an event from another server cannot be taken without. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { parseJson } from '../../server/matrix/canonical-json.ts';
import { referenceText } from '../../server/matrix/events/hash.ts';
import { serverNameOf } from '../../server/matrix/identifiers.ts';
import { signaturesOf, verifyText } from '../../server/matrix/signing.ts';
import { median } from '../figures.ts';
import { makeTransaction } from './house-process.ts';
import { message, peerName, PlayedRoom, SHARED_KEY } from './played-room.ts';

export interface Floors {
  /** Of one event, ms. */
  readonly verifyMs: number;
  /** The text of a transaction of 50 events, for each of them, ms. */
  readonly parseMs: number;
  /** An insert of 50 events with its commit to disk, for each of them, ms. */
  readonly commitMs: number;
}

const PDUS = 50;
const RUNS = 40;

/** Times `step` over and over, ms (median). */
function time(step: () => void): number {
  const spent: number[] = [];
  for (let n = 0; n < RUNS; n += 1) {
    const start = performance.now();
    step();
    spent.push(performance.now() - start);
  }
  return median(spent);
}

export function measureFloors(): Floors {
  const room = new PlayedRoom({ members: 1, servers: 1 });
  const events = Array.from({ length: PDUS }, (_, n) => room.send(message(room.creator, n)));
  const texts = events.map(({ pdu }) => JSON.stringify(pdu));
  const { text } = makeTransaction(
    peerName(0),
    events.map(({ pdu }) => pdu),
  );
  const bytes = Buffer.from(text);
  const verifyMs = time(() => {
    for (const { pdu, version, sender } of events) {
      const [found] = signaturesOf(pdu, serverNameOf(sender));
      if (found === undefined || !verifyText(referenceText(pdu, version), found.signature, SHARED_KEY.publicKey)) {
        throw new Error('an event is not signed');
      }
    }
  });
  const parseMs = time(() => void parseJson(bytes));

  const dir = mkdtempSync(join(tmpdir(), 'hearth-floor-'));
  const db = new Sqlite(join(dir, 'floor.db'));
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.exec('CREATE TABLE floor (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT');
  const insert = db.prepare('INSERT INTO floor (body) VALUES (?)');
  const insertAll = db.transaction(() => {
    for (const each of texts) insert.run(each);
  });
  const commitMs = time(() => insertAll());
  db.close();
  rmSync(dir, { recursive: true, force: true });
  return { verifyMs: verifyMs / PDUS, parseMs: parseMs / PDUS, commitMs: commitMs / PDUS };
}
