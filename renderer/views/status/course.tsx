import { type ReactNode, useMemo, useState } from 'react';
import type { History } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { Chart } from '../../components/charts.tsx';
import { Segments } from '../../components/fields.tsx';
import { Card, EmptyState, Loaded } from '../../components/page.tsx';
import { formatBytes, formatNumber } from '../../models/format.ts';
import { hasHistory, seriesOf } from '../../models/history.ts';
import { text } from '../../strings/text.ts';

type Span = 'day' | 'week';
type What = 'messages' | 'active' | 'memory';

/** What went on lately, over time. */
export function Course(): ReactNode {
  const [span, setSpan] = useState<Span>('day');
  const [what, setWhat] = useState<What>('messages');
  const read = useCall('GET /history', { query: { hours: span === 'day' ? 24 : 168 } }, { keepsFormer: true });
  return (
    <Card
      title={text('status.course')}
      actions={
        <>
          <Segments
            label={text('status.course.what')}
            value={what}
            choices={[
              { id: 'messages', title: text('status.course.messages') },
              { id: 'active', title: text('status.course.active') },
              { id: 'memory', title: text('status.course.memory') },
            ]}
            onChange={setWhat}
          />
          <Segments
            label={text('status.course.span')}
            value={span}
            choices={[
              { id: 'day', title: text('status.course.day') },
              { id: 'week', title: text('status.course.week') },
            ]}
            onChange={setSpan}
          />
        </>
      }
    >
      <Loaded read={read} lines={6}>
        {(history) =>
          what !== 'memory' && !hasHistory(history) ? (
            <EmptyState icon="pulse" title={text('status.course.empty')} />
          ) : (
            <CourseChart history={history} what={what} span={span} />
          )
        }
      </Loaded>
    </Card>
  );
}

const COLOURS: Readonly<Record<What, string>> = { messages: '--series-1', active: '--series-2', memory: '--series-3' };

function CourseChart({ history, what, span }: { history: History; what: What; span: Span }): ReactNode {
  const perPoint = span === 'week' && what !== 'memory' ? 6 : 1;
  const series = useMemo(() => {
    const { startsAt } = history;
    if (what === 'messages') return seriesOf(startsAt, history.messages, perPoint, 'sum');
    if (what === 'active') return seriesOf(startsAt, history.activePeople, perPoint, 'max');
    return seriesOf(startsAt, history.residentBytes, perPoint, 'max');
  }, [history, what, perPoint]);
  const format = what === 'memory' ? formatBytes : formatNumber;
  const label = text('status.course.label', {
    what: text(`status.course.${what}`),
    span: text(`status.course.${span}`),
    most: format(Math.max(0, ...series.values)),
  });
  return (
    <Chart
      label={label}
      series={series}
      kind={what === 'memory' ? 'line' : 'bars'}
      colour={COLOURS[what]}
      format={format}
      isWhole={what !== 'memory'}
    />
  );
}
