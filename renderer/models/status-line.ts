import type { StatusLine } from '../../server/appliance/contract.ts';

type LineTone = 'good' | 'warning' | 'bad' | 'calm';

const TONES: Readonly<Record<StatusLine, LineTone>> = {
  setup: 'calm',
  starting: 'calm',
  online: 'good',
  'network-only': 'good',
  unreachable: 'bad',
  'catching-up': 'calm',
  paused: 'calm',
  'needs-you': 'warning',
  failed: 'bad',
};

/** How worried to look. */
export function toneOf(line: StatusLine): LineTone {
  return TONES[line];
}

/** Whether the homeserver is up, so that there is something to tell of it. */
export function isRunning(line: StatusLine): boolean {
  return line !== 'paused' && line !== 'failed' && line !== 'starting' && line !== 'setup';
}
