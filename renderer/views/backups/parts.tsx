import type { ReactNode } from 'react';
import { Refusal } from '../../api/api.ts';
import type { Act } from '../../api/calls.ts';
import { Notice, sayFailure } from '../../components/page.tsx';
import { text } from '../../strings/text.ts';

/** The fewest characters of a passphrase that is being chosen. */
const SHORTEST = 8;

/** What keeps a new passphrase from being used, if anything. */
export function passphraseProblem(passphrase: string, again: string): { first?: string; second?: string } {
  if (Array.from(passphrase).length < SHORTEST) return { first: text('backups.passphrase-short') };
  return again === passphrase ? {} : { second: text('backups.passphrase-differs') };
}

/** Why something failed, at the field it is about. */
export function problemAt({ failure }: Pick<Act<never>, 'failure'>, field: string): string | undefined {
  return failure instanceof Refusal && failure.field === field ? sayFailure(failure) : undefined;
}

/** Why something failed, where it is about none of the fields. */
export function FailureNotice({
  act: { failure },
  fields = [],
}: {
  act: Pick<Act<never>, 'failure'>;
  fields?: readonly string[];
}): ReactNode {
  if (failure === undefined) return null;
  if (failure instanceof Refusal && failure.field !== undefined && fields.includes(failure.field)) return null;
  return (
    <Notice tone="bad" isLive>
      {sayFailure(failure)}
    </Notice>
  );
}
