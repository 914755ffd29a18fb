import { type ReactNode, useState } from 'react';
import { useLocation } from 'wouter';
import type { BackupFile, BackupResult, Backups } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { Button, ButtonLink } from '../../components/button.tsx';
import { useDeed } from '../../components/deed.tsx';
import { useConfirm } from '../../components/dialog.tsx';
import { JobNotice } from '../../components/jobs.tsx';
import { Card, Facts, Loaded, Notice, Page } from '../../components/page.tsx';
import { Ago, useNow } from '../../components/time.tsx';
import { formatAgo, formatBytes, formatMoment } from '../../models/format.ts';
import { partsAfter } from '../../models/place.ts';
import { text } from '../../strings/text.ts';
import { BackupList } from './backup-list.tsx';
import { MakeDialog } from './make-dialog.tsx';
import { RecoveryPage } from './recovery-page.tsx';
import { RestoreDialog } from './restore-dialog.tsx';
import { Restoration } from './restoration.tsx';
import { Schedule } from './schedule.tsx';

const OLD_MS = 14 * 86_400_000;
/** A backup needs this much of what is free, and something besides. */
const TIGHT = 0.9;

/** Backups, and the sheet that goes with them. */
export function BackupsPage(): ReactNode {
  const [location] = useLocation();
  const [place] = partsAfter(location);
  return place === 'recovery' ? <RecoveryPage /> : <Overview />;
}

interface Work {
  readonly kind: 'make' | 'verify' | 'restore';
  readonly jobId: string;
}

function Overview(): ReactNode {
  const read = useCall('GET /backups');
  const [isMaking, setMaking] = useState(false);
  const [restored, setRestored] = useState<BackupFile | 'other'>();
  const [work, setWork] = useState<Work>();
  return (
    <Page
      title={text('backups.title')}
      lead={text('backups.lead')}
      actions={
        <Button kind="primary" icon="archive" isDisabled={read.data === undefined} onPress={() => setMaking(true)}>
          {text('backups.make')}
        </Button>
      }
    >
      {work !== undefined && <Course work={work} />}
      <Loaded read={read} lines={8}>
        {(backups) => (
          <>
            <State backups={backups} />
            {backups.problem === undefined && (
              <BackupList
                backups={backups.backups}
                onMake={() => setMaking(true)}
                onRestore={setRestored}
                onVerifying={(jobId) => setWork({ kind: 'verify', jobId })}
              />
            )}
            <Schedule key={JSON.stringify({ ...backups.schedule, nextAt: 0 })} backups={backups} />
            {isMaking && (
              <MakeDialog
                backups={backups}
                onClose={() => setMaking(false)}
                onStarted={(jobId) => {
                  setWork({ kind: 'make', jobId });
                  setMaking(false);
                }}
              />
            )}
          </>
        )}
      </Loaded>
      <div className="grid" style={{ '--least': '320px' } as React.CSSProperties}>
        <Card title={text('recovery.card')} lead={text('recovery.card-lead')}>
          <div className="row">
            <ButtonLink icon="print" href="#/backups/recovery">
              {text('recovery.open')}
            </ButtonLink>
          </div>
        </Card>
        <Card title={text('restoring.card')} lead={text('restoring.card-lead')}>
          <div className="row">
            <Button kind="danger" icon="refresh" onPress={() => setRestored('other')}>
              {text('restoring.open')}
            </Button>
          </div>
        </Card>
      </div>
      {restored !== undefined && (
        <RestoreDialog
          backup={restored === 'other' ? undefined : restored}
          onClose={() => setRestored(undefined)}
          onStarted={(jobId) => {
            setWork({ kind: 'restore', jobId });
            setRestored(undefined);
          }}
        />
      )}
    </Page>
  );
}

/** How what was begun here goes, and how it ended. */
function Course({ work: { kind, jobId } }: { work: Work }): ReactNode {
  if (kind === 'restore') return <Restoration jobId={jobId} />;
  return (
    <Card>
      <JobNotice jobId={jobId}>
        {({ result }) =>
          kind === 'make' ? (
            <Made result={result as BackupResult} />
          ) : (
            <Notice tone="good" title={text('backups.verified-note')} isLive />
          )
        }
      </JobNotice>
    </Card>
  );
}

function Made({ result: { name, bytes, missingMedia, damagedMedia } }: { result: BackupResult }): ReactNode {
  const isWhole = missingMedia === 0 && damagedMedia === 0;
  return (
    <Notice tone={isWhole ? 'good' : 'warning'} title={text('backups.made-note')} isLive>
      <p className="break">{text('backups.made-text', { name, size: formatBytes(bytes) })}</p>
      {missingMedia > 0 && <p>{text('backups.made-missing', { count: missingMedia })}</p>}
      {damagedMedia > 0 && <p>{text('backups.made-damaged', { count: damagedMedia })}</p>}
    </Notice>
  );
}

/** Whether there is something to go back to. */
function State({ backups }: { backups: Backups }): ReactNode {
  const { schedule, directory, freeBytes, estimateBytes, lastFailure, problem, isUnknownFolder } = backups;
  const isTight = problem === undefined && estimateBytes > freeBytes * TIGHT;
  return (
    <Card>
      {problem === undefined ? (
        <Newest backups={backups} />
      ) : (
        <Notice
          tone="bad"
          title={text('backups.problem')}
          actions={isUnknownFolder === true && <ChooseAnew schedule={schedule} />}
        >
          <p className="break">{problem}</p>
          <p>{text('backups.problem-text')}</p>
        </Notice>
      )}
      {lastFailure !== undefined && <LastFailure failure={lastFailure} />}
      {isTight && (
        <Notice tone="warning" title={text('backups.tight')}>
          {text('backups.tight-text', { need: formatBytes(estimateBytes), free: formatBytes(freeBytes) })}
        </Notice>
      )}
      <Facts
        facts={[
          [
            text('backups.next'),
            schedule.nextAt === undefined ? (
              text('backups.next-never')
            ) : (
              <span key="next">
                {formatMoment(schedule.nextAt)}{' '}
                <span className="muted">
                  (<Ago at={schedule.nextAt} />)
                </span>
              </span>
            ),
          ],
          [
            text('backups.where'),
            <code key="where" className="break">
              {directory}
            </code>,
          ],
          [text('backups.free'), problem === undefined ? formatBytes(freeBytes) : undefined],
          [text('backups.estimate'), estimateBytes > 0 ? formatBytes(estimateBytes) : undefined],
        ]}
      />
    </Card>
  );
}

/** For a folder in which nothing says that it is the one that was chosen. */
function ChooseAnew({ schedule }: { schedule: Backups['schedule'] }): ReactNode {
  const save = useDeed('PUT /backups/schedule');
  const confirm = useConfirm();
  const { hasPassphrase: _hasPassphrase, nextAt: _nextAt, ...plan } = schedule;
  return (
    <Button
      size="small"
      isBusy={save.isRunning}
      onPress={async () => {
        const isMeant = await confirm({
          title: text('backups.anew-title'),
          text: text('backups.anew-text', { directory: schedule.directory ?? '' }),
          action: text('backups.anew'),
        });
        if (isMeant) await save.run({ body: { ...plan, isChosenAnew: true } });
      }}
    >
      {text('backups.anew')}
    </Button>
  );
}

function Newest({ backups: { backups } }: { backups: Backups }): ReactNode {
  const now = useNow();
  if (backups.length === 0) {
    return (
      <Notice tone="warning" title={text('backups.state-none')}>
        {text('backups.state-none-text')}
      </Notice>
    );
  }
  const at = Math.max(...backups.map(({ madeAt }) => madeAt));
  const when = formatAgo(at, now);
  return now - at > OLD_MS ? (
    <Notice tone="warning" title={text('backups.state-old')}>
      {text('backups.state-old-text', { when })}
    </Notice>
  ) : (
    <Notice tone="good" title={text('backups.state-good', { when })} />
  );
}

function LastFailure({ failure: { at, error } }: { failure: NonNullable<Backups['lastFailure']> }): ReactNode {
  const now = useNow();
  return (
    <Notice tone="bad" title={text('backups.state-failed')}>
      {text('backups.state-failed-when', { why: error, when: formatAgo(at, now) })}
    </Notice>
  );
}
