import type { CallName, Topic } from '../../server/appliance/contract.ts';

/** What is read of the control API. */
export type ReadName = Extract<CallName, `GET ${string}`>;

/** Which reads are to be done anew when something has moved: those whose path begins with one of these words. */
const READS: Readonly<Record<Topic, readonly string[]>> = {
  status: ['status', 'history', 'delegation', 'about', 'connect'],
  people: ['people', 'invitations', 'connect'],
  rooms: ['rooms', 'stranger-invites'],
  media: ['media'],
  settings: ['settings', 'registration', 'calls', 'delegation', 'status'],
  backups: ['backups', 'recovery-sheet', 'status'],
  problems: ['problems'],
  doctor: ['doctor', 'calls', 'status'],
  setup: ['setup', 'status', 'delegation', 'connect'],
};

/** Whether a read tells something else once `topic` has moved. */
export function isAbout(name: string, topic: Topic): boolean {
  return READS[topic].includes(areaOf(name));
}

/** The first word of a call's path. */
export function areaOf(name: string): string {
  return /^\w+ \/([\w-]+)/.exec(name)?.[1] ?? '';
}
