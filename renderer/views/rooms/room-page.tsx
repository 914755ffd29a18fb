import { type ReactNode, useState } from 'react';
import type { RoomDetails } from '../../../server/appliance/contract.ts';
import { Refusal } from '../../api/api.ts';
import { useCall } from '../../api/calls.ts';
import { Button, ButtonLink } from '../../components/button.tsx';
import { CopyIcon } from '../../components/copy.tsx';
import { type Column, DataTable } from '../../components/data-table.tsx';
import { SearchField } from '../../components/fields.tsx';
import { Card, EmptyState, Facts, Loaded, Notice, Page } from '../../components/page.tsx';
import { Tabs } from '../../components/tabs.tsx';
import { Ago } from '../../components/time.tsx';
import { formatBytes, formatNumber } from '../../models/format.ts';
import { type PlainKey, text } from '../../strings/text.ts';
import { RoomActions } from './room-actions.tsx';
import { RoomBadges, roomName } from './room-name.tsx';

/** One room: what it is, who is in it, and what can be done with it. */
export function RoomPage({ roomId }: { roomId: string }): ReactNode {
  const read = useCall('GET /rooms/{roomId}', { params: { roomId } });
  const isGone = read.error instanceof Refusal && read.error.status === 404;
  const room = isGone ? undefined : read.data;
  return (
    <Page
      title={room === undefined ? roomId : roomName(room)}
      {...(room === undefined ? {} : { lead: <RoomBadges room={room} /> })}
      actions={
        <ButtonLink kind="quiet" icon="arrow-left" href="#/rooms">
          {text('room.back')}
        </ButtonLink>
      }
    >
      {isGone ? (
        <Card>
          <EmptyState icon="rooms" title={text('room.gone')}>
            {text('room.gone-text')}
          </EmptyState>
        </Card>
      ) : (
        <Loaded read={read} lines={8}>
          {(details) => (
            <>
              {details.isBlocked && (
                <Notice tone="warning" title={text('room.blocked-note')}>
                  {text('room.blocked-text')}
                </Notice>
              )}
              <RoomFacts room={details} />
              {isKept(details) && (
                <Card>
                  <Who room={details} />
                </Card>
              )}
              <RoomActions room={details} />
            </>
          )}
        </Loaded>
      )}
    </Page>
  );
}

/** Whether anything is stored of the room; else it is only known as one that nobody may enter. */
function isKept({ version }: RoomDetails): boolean {
  return version !== '';
}

function RoomFacts({ room }: { room: RoomDetails }): ReactNode {
  const { roomId, alias, topic, version, bytes, events, stateEvents, lastActivityAt, isEncrypted } = room;
  const kept: FactList = [
    [text('room.encryption'), text(isEncrypted ? 'room.encryption-on' : 'room.encryption-off')],
    [text('room.version'), version],
    [text('room.size'), formatBytes(bytes)],
    [
      text('room.events'),
      text('room.events-count', { events: formatNumber(events), state: formatNumber(stateEvents) }),
    ],
    [text('room.activity'), <Ago key="activity" at={lastActivityAt} none={text('common.never')} />],
  ];
  return (
    <Card title={text('room.facts')}>
      <Facts
        facts={[
          [text('room.topic'), topic],
          [text('room.alias'), alias === undefined ? undefined : <Copied key="alias" value={alias} of="room.alias" />],
          [text('room.id'), <Copied key="id" value={roomId} of="room.id" />],
          ...(isKept(room) ? kept : []),
        ]}
      />
    </Card>
  );
}

function Copied({ value, of }: { value: string; of: 'room.id' | 'room.alias' }): ReactNode {
  return (
    <span className="row tight">
      <code className="break">{value}</code>
      <CopyIcon value={value} what={text(of)} />
    </span>
  );
}

type FactList = Parameters<typeof Facts>[0]['facts'];
type Member = RoomDetails['membersList'][number];

function Who({ room: { members, membersList, servers } }: { room: RoomDetails }): ReactNode {
  const joined = membersList.filter(({ membership }) => membership === 'join').length;
  return (
    <Tabs
      label={text('room.members-tab')}
      tabs={[
        {
          id: 'members',
          title: text('room.members', { count: members }),
          content: (
            <div className="stack">
              {members > joined && (
                <p className="muted small">{text('room.members-more', { shown: formatNumber(joined) })}</p>
              )}
              <Members members={membersList} />
            </div>
          ),
        },
        {
          id: 'servers',
          title: text('room.servers-tab', { count: servers.length }),
          content: <Servers servers={servers} />,
        },
      ]}
    />
  );
}

const AT_ONCE = 50;

const MEMBERSHIPS: Readonly<Record<string, PlainKey>> = {
  join: 'room.is-join',
  invite: 'room.is-invite',
  knock: 'room.is-knock',
  leave: 'room.is-leave',
  ban: 'room.is-ban',
};

function powerName(level: number): string {
  return text(level >= 100 ? 'room.power-admin' : level >= 50 ? 'room.power-moderator' : 'room.power-member');
}

const MEMBER_COLUMNS: readonly Column<Member>[] = [
  {
    id: 'member',
    title: text('room.member'),
    isLead: true,
    sortBy: ({ displayName, userId }) => displayName ?? userId,
    show: ({ userId, displayName }) => (
      <span className="who-names">
        <strong className="break">{displayName ?? userId}</strong>
        {displayName !== undefined && <span className="muted small break">{userId}</span>}
      </span>
    ),
  },
  {
    id: 'membership',
    title: text('room.membership'),
    sortBy: ({ membership }) => membership,
    show: ({ membership }) => {
      const key = MEMBERSHIPS[membership];
      return key === undefined ? membership : text(key);
    },
  },
  {
    id: 'power',
    title: text('room.power'),
    isRight: true,
    sortBy: ({ powerLevel }) => powerLevel,
    show: ({ powerLevel }) => (
      <span>
        {powerName(powerLevel)} <span className="muted">({formatNumber(powerLevel)})</span>
      </span>
    ),
  },
];

function Members({ members }: { members: readonly Member[] }): ReactNode {
  const [search, setSearch] = useState('');
  const [most, setMost] = useState(AT_ONCE);
  const wanted = search.trim().toLowerCase();
  const found = members.filter(({ userId, displayName = '' }) =>
    [userId, displayName].some((each) => each.toLowerCase().includes(wanted)),
  );
  return (
    <div className="stack">
      {members.length > 8 && <SearchField label={text('room.find-member')} value={search} onChange={setSearch} />}
      {members.length === 0 ? (
        <EmptyState icon="people" title={text('room.members-none')} />
      ) : found.length === 0 ? (
        <EmptyState icon="search" title={text('search.none')}>
          {text('search.none-text', { search })}
        </EmptyState>
      ) : (
        <DataTable
          label={text('room.members-tab')}
          columns={MEMBER_COLUMNS}
          rows={found.slice(0, most)}
          keyOf={({ userId }) => userId}
        />
      )}
      {found.length > most && (
        <div className="row">
          <Button size="small" onPress={() => setMost(most * 4)}>
            {text('room.show-members', { count: found.length - most })}
          </Button>
        </div>
      )}
    </div>
  );
}

function Servers({ servers }: { servers: readonly string[] }): ReactNode {
  if (servers.length === 0) return <EmptyState icon="server" title={text('room.servers-none')} />;
  return (
    <ul className="grid" style={{ '--least': '220px', gap: '6px 24px' } as React.CSSProperties}>
      {servers.map((server) => (
        <li key={server} className="break">
          {server}
        </li>
      ))}
    </ul>
  );
}
