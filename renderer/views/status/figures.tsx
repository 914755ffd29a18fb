import type { ReactNode } from 'react';
import type { Status } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { Sparkline } from '../../components/charts.tsx';
import { PartsBar } from '../../components/meter.tsx';
import { Card, Facts } from '../../components/page.tsx';
import { useNow } from '../../components/time.tsx';
import { formatBytes, formatDay, formatDuration, formatNumber } from '../../models/format.ts';
import { text } from '../../strings/text.ts';

type Counted = 'people' | 'devices' | 'rooms' | 'messages';

/** People, devices, rooms and messages. */
export function Counts({ status: { counts } }: { status: Status }): ReactNode {
  const history = useCall('GET /history', { query: { hours: 24 } }).data;
  return (
    <ul className="grid" style={{ '--least': '150px' } as React.CSSProperties} aria-label={text('status.counts')}>
      <Count what="people" count={counts.people} course={history?.activePeople} colour="var(--series-2)" />
      <Count what="devices" count={counts.devices} />
      <Count what="rooms" count={counts.rooms} />
      <Count what="messages" count={counts.messagesToday} course={history?.messages} />
    </ul>
  );
}

function Count({
  what,
  count,
  course,
  colour,
}: {
  what: Counted;
  count: number;
  course?: readonly number[] | undefined;
  colour?: string;
}): ReactNode {
  const isDrawn = course?.some((value) => value > 0) === true;
  return (
    <li className="card stat">
      <div>
        <p className="stat-value">{formatNumber(count)}</p>
        <p className="muted">{text(`status.${what}`, { count })}</p>
      </div>
      {isDrawn && <Sparkline values={course} {...(colour === undefined ? {} : { colour })} />}
    </li>
  );
}

/** What takes how much room on the disk. */
export function Disk({ status: { disk } }: { status: Status }): ReactNode {
  return (
    <Card title={text('status.disk')} lead={text('status.disk.lead', { free: formatBytes(disk.freeBytes) })}>
      <PartsBar
        label={text('status.disk.parts')}
        parts={[
          { id: 'database', title: 'disk.database', bytes: disk.databaseBytes, colour: 'var(--series-1)' },
          { id: 'local', title: 'disk.local', bytes: disk.localMediaBytes, colour: 'var(--series-2)' },
          { id: 'remote', title: 'disk.remote', bytes: disk.remoteMediaBytes, colour: 'var(--series-3)' },
          { id: 'backups', title: 'disk.backups', bytes: disk.backupBytes, colour: 'var(--series-4)' },
        ]}
      />
    </Card>
  );
}

const DAY_MS = 86_400_000;

/** How the program is doing. */
export function Vitals({ status }: { status: Status }): ReactNode {
  const now = useNow();
  const { startedAt, certificate } = status;
  return (
    <Card title={text('status.vitals')}>
      <Facts
        facts={[
          [text('status.server-name'), status.serverName],
          [text('status.address'), status.clientUrl],
          [text('vitals.uptime'), startedAt === undefined ? undefined : formatDuration(now - startedAt)],
          [text('vitals.memory'), formatBytes(status.memory.residentBytes)],
          [
            text('vitals.certificate'),
            certificate === undefined ? undefined : <Certificate {...certificate} now={now} />,
          ],
          [text('vitals.version'), status.version],
        ]}
      />
    </Card>
  );
}

function Certificate({ subject, expiresAt, now }: NonNullable<Status['certificate']> & { now: number }): ReactNode {
  const days = Math.floor((expiresAt - now) / DAY_MS);
  const tone = days < 0 ? 'tone-bad' : days < 14 ? 'tone-warning' : '';
  return (
    <span title={formatDay(expiresAt)}>
      {subject},{' '}
      <span className={tone}>
        {days < 0 ? text('vitals.certificate-over') : text('vitals.certificate-days', { count: days })}
      </span>
    </span>
  );
}
