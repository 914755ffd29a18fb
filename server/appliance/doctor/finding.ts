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

/** A remark in its place. Ids are unique within a report; the part before the first space says what was looked at. */
export function findingOf(id: string, title: string, { verdict, text, nextStep, details = [] }: Remark): Finding {
  return {
    id,
    title,
    verdict,
    text,
    ...(nextStep === undefined ? {} : { nextStep }),
    ...(details.length === 0 ? {} : { details: [...details] }),
  };
}

const ORDER: readonly Verdict[] = ['bad', 'warning', 'good', 'skipped'];

/** The verdict of several: the worst, and `skipped` only where nothing was looked at. */
export function worst(findings: readonly Pick<Finding, 'verdict'>[]): Verdict {
  return ORDER.find((verdict) => findings.some((finding) => finding.verdict === verdict)) ?? 'skipped';
}
