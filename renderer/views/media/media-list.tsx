import { type ReactNode, useState } from 'react';
import type { MediaItem, MediaQuery } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { type Column, DataTable } from '../../components/data-table.tsx';
import { useDeed } from '../../components/deed.tsx';
import { useConfirm } from '../../components/dialog.tsx';
import { Segments, Select } from '../../components/fields.tsx';
import { Badge, Card, EmptyState, Loaded } from '../../components/page.tsx';
import { Pager } from '../../components/pager.tsx';
import { Ago } from '../../components/time.tsx';
import { useToast } from '../../components/toasts.tsx';
import { formatBytes } from '../../models/format.ts';
import { text } from '../../strings/text.ts';

const PAGE_SIZE = 50;
const ORIGINS = ['all', 'local', 'remote'] as const;
type Origin = (typeof ORIGINS)[number];
const ORDERS = ['size', 'age', 'access'] as const satisfies readonly MediaQuery['order'][];
type Order = (typeof ORDERS)[number];

function keyOf({ origin, mediaId }: MediaItem): string {
  return `${origin}/${mediaId}`;
}

function nameOf({ name }: MediaItem): string {
  return name === undefined || name.trim() === '' ? text('media.unnamed') : name;
}

/** The files one by one, by size or age, and a way to remove some. */
export function MediaList(): ReactNode {
  const [origin, setOrigin] = useState<Origin>('all');
  const [order, setOrder] = useState<Order>('size');
  const [from, setFrom] = useState(0);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const query = { order, from, limit: PAGE_SIZE, ...(origin === 'all' ? {} : { origin }) };
  const read = useCall('GET /media', { query }, { keepsFormer: true });
  const show = (change: () => void): void => {
    change();
    setFrom(0);
    setChosen(new Set());
  };
  const byName = (id: string): void => {
    const found = ORDERS.find((each) => each === id);
    if (found !== undefined) show(() => setOrder(found));
  };
  return (
    <Card title={text('media.all')}>
      <div className="row apart">
        <Segments<Origin>
          label={text('media.which')}
          value={origin}
          choices={ORIGINS.map((id) => ({ id, title: text(`media.which-${id}`) }))}
          onChange={(id) => show(() => setOrigin(id))}
        />
        <div style={{ minWidth: 180 }}>
          <Select<Order>
            label={text('media.order')}
            isLabelHidden
            value={order}
            choices={ORDERS.map((id) => ({ id, title: text(`media.by-${id}`) }))}
            onChange={byName}
          />
        </div>
      </div>
      <Loaded read={read} lines={8}>
        {({ media, total, next }) =>
          media.length === 0 && from === 0 ? (
            <EmptyState icon="image" title={text('media.none')}>
              {text('media.none-text')}
            </EmptyState>
          ) : (
            <>
              <DataTable
                label={text('media.all')}
                columns={COLUMNS}
                rows={media}
                keyOf={keyOf}
                order={{ by: order, onChange: byName }}
                chosen={{ keys: chosen, onChange: setChosen, nameOf }}
              />
              <Pager
                from={from}
                shown={media.length}
                total={total}
                next={next}
                size={PAGE_SIZE}
                onChange={(to) => {
                  setFrom(to);
                  setChosen(new Set());
                }}
              />
              <ChosenBar
                chosen={media.filter((item) => chosen.has(keyOf(item)))}
                onClear={() => setChosen(new Set())}
              />
            </>
          )
        }
      </Loaded>
    </Card>
  );
}

const COLUMNS: readonly Column<MediaItem>[] = [
  {
    id: 'name',
    title: text('media.name'),
    isLead: true,
    show: (item) => (
      <span className="who-names">
        <strong className="break">{nameOf(item)}</strong>
        <span className="muted small break">{item.type}</span>
        {(item.isQuarantined || item.isProtected || item.pictureOf !== undefined) && (
          <span className="badges">
            {item.pictureOf !== undefined && (
              <Badge icon="person">{text('media.picture-of', { who: item.pictureOf })}</Badge>
            )}
            {item.isQuarantined && <Badge tone="warning">{text('media.quarantined')}</Badge>}
            {item.isProtected && <Badge icon="lock">{text('media.protected')}</Badge>}
          </span>
        )}
      </span>
    ),
  },
  {
    id: 'from',
    title: text('media.from'),
    show: ({ uploadedBy, origin }) => <span className="break">{uploadedBy ?? origin}</span>,
  },
  {
    id: 'size',
    title: text('media.size'),
    isRight: true,
    sortBy: ({ bytes }) => bytes,
    show: ({ bytes }) => formatBytes(bytes),
  },
  {
    id: 'age',
    title: text('media.age'),
    isRight: true,
    sortBy: ({ createdAt }) => createdAt,
    show: ({ createdAt }) => <Ago at={createdAt} />,
  },
  {
    id: 'access',
    title: text('media.access'),
    isRight: true,
    sortBy: ({ lastAccessAt = 0 }) => lastAccessAt,
    show: ({ lastAccessAt }) => <Ago at={lastAccessAt} none={text('common.never')} />,
  },
];

function ChosenBar({ chosen, onClear }: { chosen: readonly MediaItem[]; onClear: () => void }): ReactNode {
  const remove = useDeed('POST /media/remove');
  const serverName = useCall('GET /status').data?.serverName;
  const confirm = useConfirm();
  const toast = useToast();
  if (chosen.length === 0) return null;
  const size = formatBytes(chosen.reduce((sum, { bytes }) => sum + bytes, 0));
  const local = chosen.filter(({ origin }) => origin === serverName).length;
  const remote = chosen.length - local;
  const pictures = [...new Set(chosen.flatMap(({ pictureOf }) => pictureOf ?? []))];
  const press = async (): Promise<void> => {
    const isMeant = await confirm({
      title: text('media.remove-title', { count: chosen.length }),
      text: (
        <>
          {pictures.length > 0 && <p>{text('media.remove-pictures', { who: pictures.join(', ') })}</p>}
          {local > 0 && <p>{text('media.remove-local', { count: local })}</p>}
          {remote > 0 && <p>{text('media.remove-remote', { count: remote })}</p>}
          <p>{text('media.remove-size', { size })}</p>
        </>
      ),
      action: text('media.remove'),
      isDangerous: true,
    });
    if (!isMeant) return;
    const media = chosen.map(({ origin, mediaId }) => ({ origin, mediaId }));
    const answer = await remove.run({ body: { media } });
    if (answer === undefined) return;
    onClear();
    const freed = formatBytes(answer.bytes);
    toast.done(
      answer.removed < chosen.length
        ? text('media.removed-some', { removed: answer.removed, chosen: chosen.length, size: freed })
        : text('media.removed', { count: answer.removed, size: freed }),
    );
  };
  return (
    <div className="chosen-bar" role="group" aria-label={text('media.chosen', { count: chosen.length, size })}>
      <p role="status">{text('media.chosen', { count: chosen.length, size })}</p>
      <div className="row tight">
        <Button kind="quiet" onPress={onClear}>
          {text('media.choose-none')}
        </Button>
        <Button kind="danger filled" icon="trash" isBusy={remove.isRunning} onPress={press}>
          {text('media.remove')}
        </Button>
      </div>
    </div>
  );
}
