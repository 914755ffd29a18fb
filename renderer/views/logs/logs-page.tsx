import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import type { LogLevel, LogLine, LogPage } from '../../../server/appliance/contract.ts';
import { type Failure, Refusal } from '../../api/api.ts';
import { folderOpener } from '../../api/bridge.ts';
import { useHouse } from '../../api/house.tsx';
import { Button } from '../../components/button.tsx';
import { SearchField, Select, SwitchField } from '../../components/fields.tsx';
import { Card, EmptyState, FailedState, Page, sayFailure, Skeleton } from '../../components/page.tsx';
import { text } from '../../strings/text.ts';
import { LogLines } from './log-lines.tsx';

const LEVELS = ['debug', 'info', 'warn', 'error'] as const satisfies readonly LogLevel[];
const LINES = 100;
const LIVE_MS = 3_000;

/** What the server writes down, read backwards. */
export function LogsPage(): ReactNode {
  const [level, setLevel] = useState<LogLevel>('info');
  const [search, setSearch] = useState('');
  const [isLive, setLive] = useState(false);
  const open = folderOpener();
  return (
    <Page
      title={text('logs.title')}
      lead={text('logs.lead')}
      actions={
        open !== undefined && (
          <Button icon="folder" onPress={() => open('logs')}>
            {text('logs.folder')}
          </Button>
        )
      }
    >
      <Card isFlush>
        <div className="inset">
          <div className="tools">
            <SearchField
              label={text('logs.search')}
              placeholder={text('logs.search-hint')}
              value={search}
              onChange={setSearch}
            />
            <Select<LogLevel>
              label={text('logs.level')}
              isLabelHidden
              value={level}
              choices={LEVELS.map((id) => ({ id, title: text(`logs.level-${id}`) }))}
              onChange={setLevel}
            />
            <SwitchField label={text('logs.live')} value={isLive} onChange={setLive} />
          </div>
        </div>
        <Found level={level} search={search.trim()} isLive={isLive} onOlder={() => setLive(false)} />
      </Card>
    </Page>
  );
}

function useLog(level: LogLevel, search: string, isLive: boolean) {
  const { api } = useHouse();
  return useInfiniteQuery<LogPage, Failure, LogLine[], readonly unknown[], string | undefined>({
    queryKey: ['GET /logs', null, { level, search }],
    queryFn: ({ pageParam }) =>
      api.call('GET /logs', {
        query: {
          limit: LINES,
          level,
          ...(search === '' ? {} : { text: search }),
          ...(pageParam === undefined ? {} : { before: pageParam }),
        },
      }),
    initialPageParam: undefined,
    getNextPageParam: ({ before }) => before,
    select: ({ pages }) => pages.flatMap(({ lines }) => lines),
    placeholderData: keepPreviousData,
    ...(isLive ? { refetchInterval: LIVE_MS } : {}),
  });
}

function Found({
  level,
  search,
  isLive,
  onOlder,
}: {
  level: LogLevel;
  search: string;
  isLive: boolean;
  /** Whoever reads what is past does not want it to move. */
  onOlder: () => void;
}): ReactNode {
  const read = useLog(level, search, isLive);
  const { data: lines, error, hasNextPage, isFetchingNextPage, fetchNextPage } = read;
  if (lines === undefined) {
    return (
      <div className="inset">
        {error === null ? (
          <Skeleton lines={8} />
        ) : error instanceof Refusal && error.status === 404 ? (
          <EmptyState icon="lines" title={text('logs.elsewhere')}>
            {sayFailure(error)}
          </EmptyState>
        ) : (
          <FailedState failure={error} onRetry={() => read.refetch()} isRetrying={read.isFetching} />
        )}
      </div>
    );
  }
  return (
    <>
      {lines.length > 0 ? (
        <LogLines lines={lines} />
      ) : (
        <EmptyState icon={search === '' ? 'lines' : 'search'} title={text('logs.none')}>
          {text(hasNextPage ? 'logs.none-yet' : 'logs.none-text')}
        </EmptyState>
      )}
      <div className="pager">
        <p className="muted small number" role="status">
          {text('logs.count', { count: lines.length })}
        </p>
        {hasNextPage ? (
          <Button
            size="small"
            isBusy={isFetchingNextPage}
            onPress={() => {
              onOlder();
              return fetchNextPage();
            }}
          >
            {text(lines.length > 0 ? 'logs.older' : 'logs.further')}
          </Button>
        ) : (
          lines.length > 0 && <p className="muted small">{text('logs.begin')}</p>
        )}
      </div>
    </>
  );
}
