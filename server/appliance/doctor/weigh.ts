/** What findings mean in the light of each other. */
import type { Finding } from '../contract.ts';
import { bad, findingOf, good, skipped, warning } from './finding.ts';
import type { Heard } from './port.ts';
import type { Delegated } from './well-known.ts';
import type { World } from './world.ts';

const MINUTE_MS = 60_000;
/** For how long it says something that another server got through: records and routers may have changed since. */
const FRESH_MS = 60 * MINUTE_MS;

/** A server that just got through says more than what cannot be seen from inside the home. */
export function outweigh(finding: Finding, heard: Heard | undefined, { clock }: Pick<World, 'clock'>): Finding {
  const isDoubt =
    (finding.id.startsWith('port ') && finding.verdict === 'warning') ||
    (finding.id.startsWith('scope ') && finding.verdict === 'bad');
  if (!isDoubt || heard === undefined || !isFresh(heard, clock.now())) return finding;
  const { nextStep: _nextStep, ...rest } = finding;
  const text = `${finding.text} Other servers get through all the same (${heard.server} did), so it is only from here that it does not work.`;
  return { ...rest, verdict: 'skipped', text };
}

/** What servers outside have shown by getting through; it is the one look from outside that there is. */
export function tellHeard(heard: Heard | undefined, { clock }: Pick<World, 'clock'>): Finding {
  const title = 'Requests of other servers';
  if (heard === undefined) {
    const text = 'No other server has got through to this one since it was started, which need not mean anything.';
    return findingOf('heard', title, skipped(text, 'Join a room of another server: that has it answer.'));
  }
  const minutes = Math.max(0, Math.round((clock.now() - heard.at) / MINUTE_MS));
  if (!isFresh(heard, clock.now())) {
    const when = new Date(heard.at).toISOString().slice(0, 16).replace('T', ' ');
    return findingOf(
      'heard',
      title,
      skipped(`The last server that got through to this one was ${heard.server}, at ${when} UTC.`),
    );
  }
  const when = minutes === 0 ? 'just now' : minutes === 1 ? 'a minute ago' : `${minutes} minutes ago`;
  return findingOf('heard', title, good(`Another server, ${heard.server}, got through to this one ${when}.`));
}

function isFresh({ at }: Heard, now: number): boolean {
  return Math.abs(now - at) <= FRESH_MS;
}

/**
 * Nobody answers where servers look without a delegation file: where there ought to be one, or it cannot be used, that is the
 * fault, and not that port 8448 is closed. Changes `findings`.
 */
export function blameDelegation(findings: Finding[], { to, remark, pages }: Delegated, host: string): void {
  const at = findings.findIndex(({ id }) => id === 'well-known');
  const known = findings[at];
  const ports = findings.filter(({ id }) => id.startsWith('port '));
  const [port] = ports;
  if (known === undefined || to !== undefined || port === undefined) return;
  if (remark.verdict === 'warning') {
    findings[at] = { ...known, verdict: port.verdict === 'bad' ? 'bad' : 'warning' };
    return;
  }
  // Records lead elsewhere than to the usual port; or nobody could be asked for the file.
  if (pages.length === 0 || remark.verdict !== 'good' || findings.find(({ id }) => id === 'srv')?.details !== undefined)
    return;
  const say = ports.every(({ verdict }) => verdict === 'bad') ? bad : warning;
  const text =
    say === bad
      ? `${host} has no delegation file, and nothing answers on port 8448 either: other servers find nothing.`
      : `${host} has no delegation file, and whether port 8448 answers could not be seen.`;
  const step =
    'Serve the file that the delegation page shows: it leads other servers to the port where yours answers, such as 443. Without the file, port 8448 has to be open.';
  findings[at] = findingOf('well-known', known.title, say(text, step, known.details));
}
