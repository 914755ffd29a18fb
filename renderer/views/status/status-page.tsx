import { type ReactNode, useState } from 'react';
import type { Reason, Status } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { Button, ButtonLink, TextLink } from '../../components/button.tsx';
import { CopyField, QrCode } from '../../components/copy.tsx';
import { useDeed } from '../../components/deed.tsx';
import { Dialog, useConfirm } from '../../components/dialog.tsx';
import { NextStep } from '../../components/findings.tsx';
import { Icon, type IconName } from '../../components/icon.tsx';
import { MenuButton } from '../../components/menu.tsx';
import { Card, Loaded, Page } from '../../components/page.tsx';
import { isRunning, toneOf } from '../../models/status-line.ts';
import { text } from '../../strings/text.ts';
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
      actions={
        read.data?.clientUrl !== undefined &&
        isRunning(read.data.line) && <ConnectButton status={read.data} url={read.data.clientUrl} />
      }
    >
      <Loaded read={read} lines={8}>
        {(status) => (
          <>
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
            {status.reasons.map((reason) => (
              <ReasonItem key={`${reason.kind} ${reason.text}`} reason={reason} />
            ))}
          </ul>
        )}
      </div>
    </Card>
  );
}

function ReasonItem({ reason }: { reason: Reason }): ReactNode {
  const page = findPage(reason.page);
  return (
    <li>
      <p className="break">{reason.text}</p>
      {reason.nextStep !== undefined && (
        <NextStep>
          {reason.nextStep}
          {page !== undefined && page.id !== 'status' && (
            <>
              {' '}
              <TextLink href={`#/${page.id}`}>{text('status.see', { page: text(page.title) })}</TextLink>
            </>
          )}
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

/** What an app asks for, to be read off a screen. */
function ConnectButton({ status, url }: { status: Status; url: string }): ReactNode {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <Button kind="primary" icon="device" onPress={() => setOpen(true)}>
        {text('status.connect')}
      </Button>
      <Dialog
        title={text('status.connect')}
        isOpen={isOpen}
        onClose={() => setOpen(false)}
        actions={<Button onPress={() => setOpen(false)}>{text('common.close')}</Button>}
      >
        <p className="muted">{text('status.connect-lead')}</p>
        <div className="connect">
          <QrCode value={url} label={text('setup.done.qr', { url })} />
          <div className="stack">
            <CopyField label={text('status.address')} value={url} />
            {status.serverName !== undefined && (
              <CopyField label={text('status.server-name')} value={status.serverName} />
            )}
            {findPage('people') !== undefined && (
              <ButtonLink href="#/people" kind="quiet" icon="people">
                {text('page.people')}
              </ButtonLink>
            )}
          </div>
        </div>
      </Dialog>
    </>
  );
}
