import type { ReactNode } from 'react';
import { Button } from '../../components/button.tsx';
import { FindingList } from '../../components/findings.tsx';
import { Ago } from '../../components/time.tsx';
import { findingsAbout } from '../../models/doctor.ts';
import { text } from '../../strings/text.ts';
import type { DoctorDesk } from './use-doctor.ts';

/** Whether something that is to be published is in place: what the doctor found about it, and another look. */
export function LiveCheck({
  desk,
  ownName,
  about,
}: {
  desk: DoctorDesk;
  ownName: string;
  about: readonly string[];
}): ReactNode {
  const { last, latest } = desk.read.data ?? {};
  const report = [latest, last].find((each) => each?.serverName === ownName);
  const findings = report === undefined ? [] : findingsAbout(report.findings, about);
  const isBusy = desk.isStarting || desk.running !== undefined;
  return (
    <div className="stack tight" aria-live="polite">
      {findings.length > 0 && <FindingList findings={findings} label={text('doctor.findings')} />}
      <div className="row tight">
        <Button size="small" icon="stethoscope" isBusy={isBusy} onPress={() => desk.check()}>
          {text('live.check')}
        </Button>
        <span className="small muted">
          {isBusy ? (
            text('doctor.checking', {
              name: latest === undefined || latest.endedAt !== undefined ? ownName : latest.serverName,
            })
          ) : report?.endedAt === undefined ? (
            text('live.not-yet')
          ) : (
            <Ago at={report.endedAt} />
          )}
        </span>
      </div>
    </div>
  );
}
