import type { Finding, Verdict } from '../contract.ts';

/** What of a finding the one who looked knows; where it belongs is added by whoever asked. */
export interface Remark {
  readonly verdict: Verdict;
  readonly text: string;
  readonly nextStep?: string | undefined;
  readonly details?: readonly string[] | undefined;
}

export function good(text: string, details?: readonly string[]): Remark {
  return { verdict: 'good', text, details };
}

export function bad(text: string, nextStep: string, details?: readonly string[]): Remark {
  return { verdict: 'bad', text, nextStep, details };
}

export function warning(text: string, nextStep: string, details?: readonly string[]): Remark {
  return { verdict: 'warning', text, nextStep, details };
}

/** Not looked at, and why. */
export function skipped(text: string, nextStep?: string): Remark {
  return { verdict: 'skipped', text, nextStep };
}

const LONGEST_TEXT = 2_000;
const LONGEST_DETAIL = 500;
const MOST_DETAILS = 50;

/** Servers put into their answers what they like: nothing in it may command a terminal, turn a line round or fill a page. */
function tame(text: string, longest: number): string {
  const plain = text
    .trim()
    .replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '\ufffd')
    .toWellFormed();
  return plain.length > longest ? `${plain.slice(0, longest).toWellFormed()}…` : plain;
}

/** A remark in its place. Ids are unique within a report; the part before the first space says what was looked at. */
export function findingOf(id: string, title: string, { verdict, text, nextStep, details = [] }: Remark): Finding {
  return {
    id,
    title,
    verdict,
    text: tame(text, LONGEST_TEXT),
    ...(nextStep === undefined ? {} : { nextStep: tame(nextStep, LONGEST_TEXT) }),
    ...(details.length === 0
      ? {}
      : { details: details.slice(0, MOST_DETAILS).map((each) => tame(each, LONGEST_DETAIL)) }),
  };
}

const ORDER: readonly Verdict[] = ['bad', 'warning', 'good', 'skipped'];

/** The verdict of several: the worst, and `skipped` only where nothing was looked at. */
export function worst(findings: readonly Pick<Finding, 'verdict'>[]): Verdict {
  return ORDER.find((verdict) => findings.some((finding) => finding.verdict === verdict)) ?? 'skipped';
}
