import type { ReactNode } from 'react';
import type { Finding, Verdict } from '../../server/appliance/contract.ts';
import { text } from '../strings/text.ts';
import { Icon, type IconName } from './icon.tsx';
import { Details, type Tone } from './page.tsx';

export const VERDICTS: Readonly<Record<Verdict, { readonly icon: IconName; readonly tone: Tone | undefined }>> = {
  good: { icon: 'good', tone: 'good' },
  warning: { icon: 'warning', tone: 'warning' },
  bad: { icon: 'bad', tone: 'bad' },
  skipped: { icon: 'skipped', tone: undefined },
};

/** What was looked at, one by one, with what to do where something is not well. */
export function FindingList({ findings, label }: { findings: readonly Finding[]; label: string }): ReactNode {
  return (
    <ul className="findings" aria-label={label}>
      {findings.map((finding) => (
        <FindingItem key={finding.id} finding={finding} />
      ))}
    </ul>
  );
}

function FindingItem({
  finding: { title, verdict, text: sentence, nextStep, details },
}: {
  finding: Finding;
}): ReactNode {
  const { icon, tone } = VERDICTS[verdict];
  return (
    <li className="finding">
      <Icon name={icon} label={text(`verdict.${verdict}`)} className={tone === undefined ? 'muted' : `tone-${tone}`} />
      <div>
        <p className="finding-title">{title}</p>
        <p className="muted break">{sentence}</p>
        {nextStep !== undefined && <NextStep>{nextStep}</NextStep>}
        {details !== undefined && details.length > 0 && (
          <Details summary={text('common.details')}>
            <ul className="stack tight small muted mono break">
              {[...new Set(details)].map((line) => (
                <li key={line}>{line}</li>
              ))}
            </ul>
          </Details>
        )}
      </div>
    </li>
  );
}

/** What the person can do about something. */
export function NextStep({ children }: { children: ReactNode }): ReactNode {
  return (
    <p className="next-step">
      <Icon name="arrow-right" label={text('common.next-step')} />
      <span className="break">{children}</span>
    </p>
  );
}
