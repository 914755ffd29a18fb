import type { Finding } from '../../server/appliance/contract.ts';

/** The findings about certain things: the first word of a finding's ID says what was looked at. */
export function findingsAbout(findings: readonly Finding[], about: readonly string[]): readonly Finding[] {
  return findings.filter(({ id }) => about.includes(id.split(' ')[0] ?? ''));
}
