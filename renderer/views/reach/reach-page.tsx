import { type ReactNode, useState } from 'react';
import type { Delegation } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { CodeBlock, CopyIcon } from '../../components/copy.tsx';
import { type Column, DataTable } from '../../components/data-table.tsx';
import { Select } from '../../components/fields.tsx';
import { Card, Details, EmptyState, Loaded, Notice, Page } from '../../components/page.tsx';
import { RestartNotice } from '../../components/restart.tsx';
import { Tabs } from '../../components/tabs.tsx';
import { text } from '../../strings/text.ts';
import { Doctor } from './doctor.tsx';
import { LiveCheck } from './live-check.tsx';
import { type DoctorDesk, useDoctor } from './use-doctor.ts';
import { Way } from './way.tsx';

/** What has to be published so that this server is found, and whether it is. */
export function ReachPage(): ReactNode {
  const read = useCall('GET /delegation');
  const isForHome = useCall('GET /setup').data?.draft.reach === 'home';
  const desk = useDoctor();
  const name = read.data?.serverName;
  return (
    <Page title={text('reach.title')} {...(name === undefined ? {} : { lead: text('reach.lead', { name }) })}>
      <RestartNotice />
      <Doctor desk={desk} ownName={name} />
      <Card title={text('reach.publish')} {...(isForHome ? {} : { lead: text('reach.publish-lead') })}>
        <Loaded read={read} lines={6}>
          {(delegation) =>
            isForHome ? (
              <div className="stack">
                <Notice tone="good">{text('reach.home')}</Notice>
                <Details summary={text('reach.home-anyway')}>
                  <Guidance delegation={delegation} desk={desk} />
                </Details>
              </div>
            ) : (
              <Guidance delegation={delegation} desk={desk} />
            )
          }
        </Loaded>
      </Card>
      <Way />
    </Page>
  );
}

/** What the doctor's findings are called that tell whether a thing is in place. */
const ABOUT = {
  fileForServers: ['well-known'],
  fileForClients: ['client-file', 'client-api'],
  records: ['name', 'srv', 'dns', 'scope', 'families', 'more'],
  ports: ['port', 'heard', 'tls', 'same', 'home', 'devices'],
  proxies: [
    'local',
    'answer',
    'keys',
    'clock',
    'path',
    'arrival',
    'signatures',
    'forwarded',
    'client-api',
    'client-browser',
    'client-path',
    'client-upload',
  ],
} as const;

interface GuidanceProps {
  readonly delegation: Delegation;
  readonly desk: DoctorDesk;
}

function Guidance({ delegation, desk }: GuidanceProps): ReactNode {
  const check = (about: readonly string[]): ReactNode => (
    <LiveCheck desk={desk} ownName={delegation.serverName} about={about} />
  );
  return (
    <Tabs
      label={text('reach.publish')}
      tabs={[
        { id: 'files', title: text('reach.tab.files'), content: <Files delegation={delegation} check={check} /> },
        {
          id: 'records',
          title: text('reach.tab.records'),
          content: (
            <div className="stack">
              <Records records={delegation.records} />
              {check(ABOUT.records)}
            </div>
          ),
        },
        {
          id: 'ports',
          title: text('reach.tab.ports'),
          content: (
            <div className="stack">
              <Ports ports={delegation.ports} />
              {check(ABOUT.ports)}
            </div>
          ),
        },
        {
          id: 'proxies',
          title: text('reach.tab.proxies'),
          content: (
            <div className="stack">
              <Snippets snippets={delegation.snippets} />
              {check(ABOUT.proxies)}
            </div>
          ),
        },
      ]}
    />
  );
}

const FILES_LEAD = {
  hearth: 'reach.files-hearth',
  proxy: 'reach.files-proxy',
  elsewhere: 'reach.files-lead',
} as const;

function Files({
  delegation: { serverName, wellKnownServer, wellKnownClient, filesFrom },
  check,
}: {
  delegation: Delegation;
  check: (about: readonly string[]) => ReactNode;
}): ReactNode {
  return (
    <div className="stack">
      <p className="muted">{text(FILES_LEAD[filesFrom], { name: serverName })}</p>
      <p>{text('reach.file-server-why')}</p>
      <CodeBlock title={text('reach.file-server', { name: serverName })} code={wellKnownServer} />
      {check(ABOUT.fileForServers)}
      <p>{text('reach.file-client-why')}</p>
      <CodeBlock title={text('reach.file-client', { name: serverName })} code={wellKnownClient} />
      {check(ABOUT.fileForClients)}
    </div>
  );
}

type DnsRecord = Delegation['records'][number];
const RECORD_COLUMNS: readonly Column<DnsRecord>[] = [
  { id: 'type', title: text('record.type'), show: ({ type }) => <code>{type}</code> },
  { id: 'name', title: text('record.name'), show: ({ name }) => <Copied value={name} what={text('record.name')} /> },
  {
    id: 'value',
    title: text('record.value'),
    show: ({ value }) => <Copied value={value} what={text('record.value')} />,
  },
  { id: 'why', title: text('record.why'), show: ({ why }) => <span className="muted">{why}</span> },
];

function Records({ records }: { records: readonly DnsRecord[] }): ReactNode {
  if (records.length === 0) return <EmptyState icon="good" title={text('reach.records-none')} />;
  return (
    <div className="stack">
      <p className="muted">{text('reach.records-lead')}</p>
      <DataTable
        label={text('reach.tab.records')}
        columns={RECORD_COLUMNS}
        rows={records}
        keyOf={({ type, name, value }) => `${type} ${name} ${value}`}
      />
    </div>
  );
}

function Copied({ value, what }: { value: string; what: string }): ReactNode {
  return (
    <span className="row tight" style={{ flexWrap: 'nowrap' }}>
      <code>{value}</code>
      <CopyIcon value={value} what={`${what} ${value}`} />
    </span>
  );
}

type PortForward = Delegation['ports'][number];
const PORT_COLUMNS: readonly Column<PortForward>[] = [
  {
    id: 'port',
    title: text('port.port'),
    show: ({ port, protocol }) => <code>{`${port} ${protocol.toUpperCase()}`}</code>,
  },
  { id: 'to', title: text('port.to'), show: ({ to }) => <code>{to}</code> },
  { id: 'why', title: text('port.why'), show: ({ why }) => <span className="muted">{why}</span> },
];

function Ports({ ports }: { ports: readonly PortForward[] }): ReactNode {
  if (ports.length === 0) return <EmptyState icon="good" title={text('reach.ports-none')} />;
  return (
    <div className="stack">
      <p className="muted">{text('reach.ports-lead')}</p>
      <DataTable
        label={text('reach.tab.ports')}
        columns={PORT_COLUMNS}
        rows={ports}
        keyOf={({ port, protocol, to }) => `${port} ${protocol} ${to}`}
      />
    </div>
  );
}

function Snippets({ snippets }: { snippets: Delegation['snippets'] }): ReactNode {
  const [id, setId] = useState(snippets[0]?.id ?? '');
  const snippet = snippets.find((each) => each.id === id) ?? snippets[0];
  if (snippet === undefined) return <EmptyState icon="good" title={text('reach.proxies-none')} />;
  return (
    <div className="stack">
      <p className="muted">{text('reach.proxies-lead')}</p>
      <div style={{ maxWidth: 320 }}>
        <Select
          label={text('reach.proxy')}
          value={snippet.id}
          choices={snippets.map(({ id: each, title }) => ({ id: each, title }))}
          onChange={setId}
        />
      </div>
      <CodeBlock title={snippet.where} code={snippet.text} />
    </div>
  );
}
