import { type ReactNode, useState } from 'react';
import type { RemoteServer, Status } from '../../../server/appliance/contract.ts';
import { Button } from '../../components/button.tsx';
import { type Column, DataTable } from '../../components/data-table.tsx';
import { Badge, Card, EmptyState, type Tone } from '../../components/page.tsx';
import { Ago, useNow } from '../../components/time.tsx';
import { formatAgo, formatNumber } from '../../models/format.ts';
import { text } from '../../strings/text.ts';

const AT_FIRST = 6;
const TONES: Readonly<Record<RemoteServer['state'], Tone>> = { well: 'good', failing: 'bad', waiting: 'calm' };
const WORST_FIRST: readonly RemoteServer['state'][] = ['failing', 'waiting', 'well'];

/** The servers that this one talks to, those in trouble first. */
export function Servers({ status: { federation, line } }: { status: Status }): ReactNode {
  const [isWhole, setWhole] = useState(false);
  const servers = [...federation.servers].sort(
    (one, other) =>
      WORST_FIRST.indexOf(one.state) - WORST_FIRST.indexOf(other.state) ||
      (other.lastContactAt ?? 0) - (one.lastContactAt ?? 0),
  );
  if (servers.length === 0) {
    return (
      <Card title={text('status.servers')}>
        <EmptyState icon="globe" title={text('status.servers.empty')}>
          {text(line === 'network-only' ? 'status.servers.empty-home' : 'status.servers.empty-text')}
        </EmptyState>
      </Card>
    );
  }
  return (
    <Card
      title={text('status.servers')}
      lead={
        federation.queued === 0
          ? text('status.servers.all-sent')
          : text('status.servers.lead', { count: federation.queued })
      }
    >
      <DataTable
        label={text('status.servers')}
        columns={COLUMNS}
        rows={isWhole ? servers : servers.slice(0, AT_FIRST)}
        keyOf={({ name }) => name}
      />
      {servers.length > AT_FIRST && (
        <div style={{ marginLeft: -12 }}>
          <Button kind="quiet" size="small" onPress={() => setWhole(!isWhole)}>
            {isWhole ? text('common.show-fewer') : text('common.show-all', { count: servers.length })}
          </Button>
        </div>
      )}
    </Card>
  );
}

const COLUMNS: readonly Column<RemoteServer>[] = [
  { id: 'name', title: text('server.name'), isLead: true, show: ({ name }) => name, sortBy: ({ name }) => name },
  {
    id: 'state',
    title: text('server.state'),
    show: (server) => <State server={server} />,
    sortBy: ({ state }) => WORST_FIRST.indexOf(state),
  },
  {
    id: 'contact',
    title: text('server.last-contact'),
    show: ({ lastContactAt }) => <Ago at={lastContactAt} none={text('common.never')} />,
    sortBy: ({ lastContactAt }) => lastContactAt ?? 0,
  },
  {
    id: 'queued',
    title: text('server.queued'),
    isRight: true,
    show: ({ queued }) => formatNumber(queued),
    sortBy: ({ queued }) => queued,
  },
];

function State({ server: { state, reason, retryAt } }: { server: RemoteServer }): ReactNode {
  const now = useNow();
  const more = [
    reason,
    retryAt === undefined || retryAt < now ? undefined : text('server.retry', { when: formatAgo(retryAt, now) }),
  ]
    .filter((each) => each !== undefined)
    .join('; ');
  return (
    <span className="stack tight" style={{ gap: 2, justifyItems: 'start' }}>
      <Badge tone={TONES[state]}>{text(`server.${state}`)}</Badge>
      {more !== '' && <span className="small muted">{more}</span>}
    </span>
  );
}
