import { type ReactNode, useState } from 'react';
import type { MediaSummary } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { JobNotice } from '../../components/jobs.tsx';
import { Meter, PartsBar } from '../../components/meter.tsx';
import { Card, Loaded } from '../../components/page.tsx';
import { formatBytes } from '../../models/format.ts';
import { text } from '../../strings/text.ts';
import { CacheDialog } from './cache-dialog.tsx';
import { PurgeDialog } from './purge-dialog.tsx';

/** Above this share of the limit it is worth a look. */
const NEARLY_FULL = 0.9;

/** What media take, by where they are from. */
export function Summary(): ReactNode {
  const read = useCall('GET /media/summary');
  const [open, setOpen] = useState<'cache' | 'purge'>();
  const [jobId, setJobId] = useState<string>();
  const close = (): void => setOpen(undefined);
  return (
    <Card
      title={text('media.summary')}
      {...(read.data === undefined ? {} : { lead: text('media.free', { free: formatBytes(read.data.freeBytes) }) })}
    >
      <Loaded read={read} lines={4}>
        {(summary) => (
          <>
            <Figures summary={summary} />
            <div className="row tight">
              <Button icon="sliders" onPress={() => setOpen('cache')}>
                {text('media.cache-change')}
              </Button>
              <Button icon="trash" isDisabled={summary.remote.files === 0} onPress={() => setOpen('purge')}>
                {text('media.purge')}
              </Button>
            </div>
            {open === 'cache' && <CacheDialog cap={summary.remote.capBytes} onClose={close} />}
            {open === 'purge' && (
              <PurgeDialog
                onClose={close}
                onStarted={(started) => {
                  setJobId(started);
                  close();
                }}
              />
            )}
          </>
        )}
      </Loaded>
      <JobNotice jobId={jobId} />
    </Card>
  );
}

function Figures({ summary: { local, remote, thumbnails } }: { summary: MediaSummary }): ReactNode {
  const { capBytes } = remote;
  const used = formatBytes(remote.bytes);
  return (
    <div className="stack wide">
      <PartsBar
        label={text('media.summary')}
        parts={[
          { id: 'local', title: 'media.local', bytes: local.bytes, colour: 'var(--series-1)' },
          { id: 'remote', title: 'media.remote', bytes: remote.bytes, colour: 'var(--series-2)' },
          { id: 'thumbnails', title: 'media.thumbnails', bytes: thumbnails.bytes, colour: 'var(--series-3)' },
        ]}
      />
      {capBytes === undefined || capBytes === 0 ? (
        <p className="row apart tight small">
          <span>{text('media.cache')}</span>
          <span className="muted">{text('media.cache-none', { used })}</span>
        </p>
      ) : (
        <Meter
          label={text('media.cache')}
          value={remote.bytes / capBytes}
          valueText={text('media.cache-of', { used, cap: formatBytes(capBytes) })}
          tone={remote.bytes / capBytes > NEARLY_FULL ? 'warning' : 'good'}
        />
      )}
      <div className="grid">
        <Explained title={text('media.local')} files={local.files} help={text('media.local-help')} />
        <Explained title={text('media.remote')} files={remote.files} help={text('media.remote-help')} />
      </div>
    </div>
  );
}

function Explained({ title, files, help }: { title: string; files: number; help: string }): ReactNode {
  return (
    <div>
      <h3>{title}</h3>
      <p className="small">{text('media.files', { count: files })}</p>
      <p className="muted small">{help}</p>
    </div>
  );
}
