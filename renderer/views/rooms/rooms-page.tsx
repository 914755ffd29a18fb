import { type ReactNode, useState } from 'react';
import { useLocation } from 'wouter';
import type { RoomOrder, RoomPage as Found, RoomSummary } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { type Column, DataTable } from '../../components/data-table.tsx';
import { SearchField, Select } from '../../components/fields.tsx';
import { Card, EmptyState, Loaded, Page } from '../../components/page.tsx';
import { Pager } from '../../components/pager.tsx';
import { Ago } from '../../components/time.tsx';
import { formatBytes, formatNumber } from '../../models/format.ts';
import { linkTo, partsAfter } from '../../models/place.ts';
import { text } from '../../strings/text.ts';
import { Avatar } from '../people/who.tsx';
import { RoomPage } from './room-page.tsx';
import { RoomBadges, roomName } from './room-name.tsx';

const PAGE_SIZE = 50;
/** Nobody tells of every message. */
const EVERY_MS = 30_000;
const ORDERS = ['activity', 'name', 'size', 'members'] as const satisfies readonly RoomOrder[];

/** Rooms, and one of them. */
export function RoomsPage(): ReactNode {
  const [location] = useLocation();
  const [roomId] = partsAfter(location);
  return roomId === undefined ? <Rooms /> : <RoomPage key={roomId} roomId={roomId} />;
}

function Rooms(): ReactNode {
  const [search, setSearch] = useState('');
  const [order, setOrder] = useState<RoomOrder>('activity');
  const [from, setFrom] = useState(0);
  const query = { order, from, limit: PAGE_SIZE, ...(search === '' ? {} : { search }) };
  const read = useCall('GET /rooms', { query }, { keepsFormer: true, everyMs: EVERY_MS });
  const changeOrder = (by: string): void => {
    const found = ORDERS.find((each) => each === by);
    if (found === undefined) return;
    setOrder(found);
    setFrom(0);
  };
  const changeSearch = (to: string): void => {
    setSearch(to);
    setFrom(0);
  };
  return (
    <Page title={text('rooms.title')} lead={text('rooms.lead')}>
      <Card>
        <div className="tools">
          <SearchField
            label={text('rooms.search')}
            placeholder={text('rooms.search-hint')}
            value={search}
            onChange={changeSearch}
          />
          <Select<RoomOrder>
            label={text('rooms.order')}
            isLabelHidden
            value={order}
            choices={ORDERS.map((id) => ({ id, title: text(`rooms.by-${id}`) }))}
            onChange={changeOrder}
          />
        </div>
        <Loaded read={read} lines={8}>
          {(page) =>
            page.rooms.length > 0 || from > 0 ? (
              <List page={page} order={order} onOrder={changeOrder} from={from} onFrom={setFrom} />
            ) : search !== '' ? (
              <EmptyState
                icon="search"
                title={text('search.none')}
                action={<Button onPress={() => changeSearch('')}>{text('search.clear')}</Button>}
              >
                {text('search.none-text', { search })}
              </EmptyState>
            ) : (
              <EmptyState icon="rooms" title={text('rooms.none')}>
                {text('rooms.none-text')}
              </EmptyState>
            )
          }
        </Loaded>
      </Card>
    </Page>
  );
}

const COLUMNS: readonly Column<RoomSummary>[] = [
  {
    id: 'name',
    title: text('rooms.name'),
    isLead: true,
    sortBy: roomName,
    show: (room) => (
      <div className="who">
        <Avatar name={roomName(room)} isSquare />
        <div className="who-names">
          <a href={linkTo('rooms', room.roomId)}>{roomName(room)}</a>
          {room.alias !== undefined && <span className="muted small break">{room.alias}</span>}
          <RoomBadges room={room} />
        </div>
      </div>
    ),
  },
  {
    id: 'members',
    title: text('rooms.members'),
    isRight: true,
    sortBy: ({ members }) => members,
    show: ({ localMembers, members }) =>
      text('rooms.members-here', { here: formatNumber(localMembers), all: formatNumber(members) }),
  },
  {
    id: 'size',
    title: text('rooms.size'),
    isRight: true,
    sortBy: ({ bytes }) => bytes,
    show: ({ bytes }) => formatBytes(bytes),
  },
  {
    id: 'activity',
    title: text('rooms.activity'),
    isRight: true,
    sortBy: ({ lastActivityAt = 0 }) => lastActivityAt,
    show: ({ lastActivityAt }) => <Ago at={lastActivityAt} none={text('common.never')} />,
  },
];

function List({
  page: { rooms, total, next },
  order,
  onOrder,
  from,
  onFrom,
}: {
  page: Found;
  order: RoomOrder;
  onOrder: (by: string) => void;
  from: number;
  onFrom: (from: number) => void;
}): ReactNode {
  return (
    <>
      <DataTable
        label={text('rooms.title')}
        columns={COLUMNS}
        rows={rooms}
        keyOf={({ roomId }) => roomId}
        order={{ by: order, onChange: onOrder }}
      />
      <Pager from={from} shown={rooms.length} total={total} next={next} onChange={onFrom} size={PAGE_SIZE} />
    </>
  );
}
