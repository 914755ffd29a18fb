import type { ReactNode } from 'react';
import type { Reason, Status } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { Button, TextLink } from '../../components/button.tsx';
import { useDeed } from '../../components/deed.tsx';
import { useConfirm } from '../../components/dialog.tsx';
import { NextStep } from '../../components/findings.tsx';
import { Icon, type IconName } from '../../components/icon.tsx';
import { MenuButton } from '../../components/menu.tsx';
import { Card, Loaded, Page } from '../../components/page.tsx';
import { RestartNotice } from '../../components/restart.tsx';
import { isRunning, toneOf } from '../../models/status-line.ts';
import { text } from '../../strings/text.ts';
import { ConnectButton } from '../connect/connect-button.tsx';
import { findPage } from '../pages.ts';
import { Course } from './course.tsx';
import { Counts, Disk, Vitals } from './figures.tsx';
import { Problems } from './problems.tsx';
import { Servers } from './servers.tsx';

const EVERY_MS = 15_000;

export function StatusPage(): ReactNode {
  const read = useCall('GET /status', {}, { everyMs: EVERY_MS });
  return (
    <Page
      title={text('status.title')}
      actions={read.data?.clientUrl !== undefined && isRunning(read.data.line) && <ConnectButton kind="primary" />}
    >
      <Loaded read={read} lines={8}>
        {(status) => (
          <>
            <RestartNotice />
            <Truth status={status} />
            {isRunning(status.line) && <Counts status={status} />}
            <Problems />
            {isRunning(status.line) && (
              <>
                <Course />
                <Servers status={status} />
              </>
            )}
            <div className="grid" style={{ '--least': '340px' } as React.CSSProperties}>
              <Disk status={status} />
              <Vitals status={status} />
            </div>
          </>
        )}
      </Loaded>
    </Page>
  );
}

const LINE_ICONS: Readonly<Record<Status['line'], IconName>> = {
  setup: 'info',
  starting: 'hourglass',
  online: 'check',
  'network-only': 'home',
  unreachable: 'globe',
  'catching-up': 'refresh',
  paused: 'pause',
  'needs-you': 'warning',
  failed: 'bad',
};

/** The one line of truth, and what it rests on. */
function Truth({ status }: { status: Status }): ReactNode {
  const tone = toneOf(status.line);
  return (
    <Card>
      <div className="truth">
        <div className={`truth-light ${tone}`}>
          <Icon name={LINE_ICONS[status.line]} />
        </div>
        <p className="truth-line" role="status">
          <strong>{text(`line.${status.line}`)}</strong>
        </p>
        <ServerActions status={status} />
        {status.reasons.length === 0 ? (
          <p className="reasons muted">{text('status.restful')}</p>
        ) : (
          <ul className="reasons">
            {status.reasons.filter(isNotSaidElsewhere).map((reason) => (
              <ReasonItem key={`${reason.kind} ${reason.text}`} reason={reason} />
            ))}
          </ul>
        )}
      </div>
    </Card>
  );
}

/** The notice of a restart says that, and has the button for it. */
function isNotSaidElsewhere({ kind }: Reason): boolean {
  return kind !== 'restart';
}

function ReasonItem({ reason }: { reason: Reason }): ReactNode {
  const page = findPage(reason.page);
  const link = page !== undefined && page.id !== 'status' && (
    <TextLink href={`#/${page.id}`}>{text('status.see', { page: text(page.title) })}</TextLink>
  );
  return (
    <li>
      <p className="break">{reason.text}</p>
      {(reason.nextStep !== undefined || link !== false) && (
        <NextStep>
          {reason.nextStep} {link}
        </NextStep>
      )}
    </li>
  );
}

function ServerActions({ status: { line } }: { status: Status }): ReactNode {
  const pause = useDeed('POST /server/pause');
  const resume = useDeed('POST /server/resume');
  const restart = useDeed('POST /server/restart');
  const confirm = useConfirm();
  const isBusy = pause.isRunning || resume.isRunning || restart.isRunning;
  if (line === 'paused') {
    return (
      <Button kind="primary" icon="play" isBusy={isBusy} onPress={() => resume.run()}>
        {text('status.resume')}
      </Button>
    );
  }
  if (line === 'failed') {
    return (
      <Button kind="primary" icon="refresh" isBusy={isBusy} onPress={() => restart.run()}>
        {text('status.try-start')}
      </Button>
    );
  }
  return (
    <MenuButton
      label={text('status.actions')}
      actions={[
        {
          id: 'pause',
          title: text('status.pause'),
          icon: 'pause',
          isDisabled: isBusy,
          onPress: async () => {
            const question = {
              title: text('status.pause-title'),
              text: text('status.pause-text'),
              action: text('status.pause'),
            };
            if (await confirm(question)) await pause.run();
          },
        },
        {
          id: 'restart',
          title: text('status.restart'),
          icon: 'refresh',
          isDisabled: isBusy,
          onPress: async () => {
            const question = {
              title: text('status.restart-title'),
              text: text('status.restart-text'),
              action: text('status.restart'),
            };
            if (await confirm(question)) await restart.run();
          },
        },
      ]}
    />
  );
}
