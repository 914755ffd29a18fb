import { type ReactNode, useState } from 'react';
import { Form } from 'react-aria-components';
import type { DoctorReport, Finding } from '../../../server/appliance/contract.ts';
import { Button } from '../../components/button.tsx';
import { TextField } from '../../components/fields.tsx';
import { FindingList, VERDICTS } from '../../components/findings.tsx';
import { JobProgress } from '../../components/jobs.tsx';
import { Card, Details, EmptyState, Loaded, Notice, sayFailure } from '../../components/page.tsx';
import { Ago } from '../../components/time.tsx';
import { text } from '../../strings/text.ts';
import type { DoctorDesk } from './use-doctor.ts';

/** Looks at a server from outside, and says what was found while it looks. */
export function Doctor({ desk, ownName }: { desk: DoctorDesk; ownName: string | undefined }): ReactNode {
  const { read, running, failure, failedJob } = desk;
  const [typed, setTyped] = useState<string>();
  const name = (typed ?? ownName ?? '').trim();
  return (
    <Card title={text('doctor.title')} lead={text('doctor.lead')}>
      <Form
        className="row"
        style={{ alignItems: 'flex-end' }}
        onSubmit={(event) => {
          event.preventDefault();
          if (running === undefined) void desk.check(name === '' || name === ownName ? undefined : name);
        }}
      >
        <div className="grow" style={{ flexBasis: 260 }}>
          <TextField
            label={text('doctor.which')}
            help={text('doctor.which-help')}
            value={typed ?? ownName ?? ''}
            onChange={setTyped}
            isCode
          />
        </div>
        <Button type="submit" kind="primary" icon="stethoscope" isBusy={desk.isStarting || running !== undefined}>
          {text((read.data?.latest ?? read.data?.last) === undefined ? 'doctor.run' : 'doctor.again')}
        </Button>
      </Form>
      {failure !== undefined && (
        <Notice tone="bad" isLive>
          {sayFailure(failure)}
        </Notice>
      )}
      {failedJob !== undefined && (
        <Notice tone="bad" isLive>
          {failedJob.error?.error}
        </Notice>
      )}
      {running !== undefined && <JobProgress job={running} />}
      <Loaded read={read}>
        {({ last, latest = last }) =>
          latest === undefined ? (
            running === undefined && (
              <EmptyState icon="stethoscope" title={text('doctor.empty')}>
                {text('doctor.empty-text')}
              </EmptyState>
            )
          ) : (
            <Report report={latest} />
          )
        }
      </Loaded>
    </Card>
  );
}

const WORST_FIRST = ['bad', 'warning', 'good', 'skipped'] as const;

/** What a check found: what needs somebody first, what is well folded away. */
export function Report({ report }: { report: DoctorReport }): ReactNode {
  const { tone } = VERDICTS[report.verdict];
  const sorted = [...report.findings].sort(
    (one, other) => WORST_FIRST.indexOf(one.verdict) - WORST_FIRST.indexOf(other.verdict),
  );
  const isUrgent = ({ verdict }: Finding): boolean => verdict === 'bad' || verdict === 'warning';
  const urgent = sorted.filter(isUrgent);
  const others = sorted.filter((finding) => !isUrgent(finding));
  const well = others.filter(({ verdict }) => verdict === 'good').length;
  return (
    <div className="stack">
      {report.endedAt !== undefined && (
        <Notice {...(tone === undefined ? {} : { tone })} title={report.summary} isLive>
          <span className="muted small">
            {text('doctor.checked', { name: report.serverName })}, <Ago at={report.endedAt} />
          </span>
        </Notice>
      )}
      {urgent.length > 0 && <FindingList findings={urgent} label={text('doctor.findings')} />}
      {others.length > 0 &&
        (report.endedAt === undefined ? (
          <FindingList findings={others} label={text('doctor.findings')} />
        ) : (
          <Details summary={text('doctor.well-ones', { count: well })} isOpen={urgent.length === 0}>
            <FindingList findings={others} label={text('doctor.well-ones', { count: well })} />
          </Details>
        ))}
    </div>
  );
}
