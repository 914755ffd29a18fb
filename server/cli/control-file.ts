import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isJsonObject } from '../matrix/json.ts';

/** Where a program on this machine finds the interface of the server that runs on a data directory; mode 0600. */
export const CONTROL_FILE = 'control.json';

/** The interface of a server that runs, for those who may read its data directory. */
export interface ControlAddress {
  /** Without a slash at its end. */
  readonly url: string;
  readonly token: string;
}

const ANSWER_MS = 3000;

export function writeControlFile(dataDir: string, address: ControlAddress): void {
  const file = join(dataDir, CONTROL_FILE);
  // One that was left behind may have been readable by others.
  rmSync(file, { force: true });
  writeFileSync(file, `${JSON.stringify(address)}\n`, { mode: 0o600, flag: 'wx' });
}

/** Removes the file, unless it is another program's by now. */
export function removeControlFile(dataDir: string, own: ControlAddress): void {
  if (readControlFile(dataDir)?.token === own.token) rmSync(join(dataDir, CONTROL_FILE), { force: true });
}

/** What a running server has left there, or one that was killed. */
export function readControlFile(dataDir: string): ControlAddress | undefined {
  try {
    const content: unknown = JSON.parse(readFileSync(join(dataDir, CONTROL_FILE), 'utf8'));
    if (!isJsonObject(content) || typeof content['url'] !== 'string' || typeof content['token'] !== 'string')
      return undefined;
    // Nothing but this machine is asked, whatever stands there.
    if (!/^http:\/\/127\.0\.0\.1:\d{1,5}$/.test(content['url'])) return undefined;
    return { url: content['url'], token: content['token'] };
  } catch (error) {
    // One that is another user's is of no use here; should a server run there, the lock on its data keeps ours out.
    if ((error instanceof Error && 'code' in error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** A new link to the interface of the server that runs on a data directory; undefined where none does. */
export async function askForLink(dataDir: string): Promise<string | undefined> {
  const address = readControlFile(dataDir);
  if (address === undefined) return undefined;
  const { url, token } = address;
  let answer: unknown;
  try {
    const response = await fetch(`${url}/_hearth/control/links`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(ANSWER_MS),
      redirect: 'error',
    });
    // Another program may have the port by now; it does not know the token.
    if (!response.ok) return undefined;
    answer = await response.json();
  } catch {
    // Nobody listens there any more, or nobody who speaks like this: the file was left behind.
    return undefined;
  }
  return isJsonObject(answer) && typeof answer['link'] === 'string' ? `${url}/#/link/${answer['link']}` : undefined;
}
