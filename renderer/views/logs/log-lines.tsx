import type { ReactNode } from 'react';
import type { LogLevel, LogLine } from '../../../server/appliance/contract.ts';
import { Badge, type Tone } from '../../components/page.tsx';
import { Icon, type IconName } from '../../components/icon.tsx';
import { formatMoment, formatSecond } from '../../models/format.ts';
import { briefOf } from '../../models/log-brief.ts';
import { text } from '../../strings/text.ts';

const LEVELS: Readonly<Record<LogLevel, { readonly icon: IconName; readonly tone?: Tone }>> = {
  debug: { icon: 'more' },
  info: { icon: 'info' },
  warn: { icon: 'warning', tone: 'warning' },
  error: { icon: 'bad', tone: 'bad' },
};

/** Lines of the log; what belongs to one folds out. */
export function LogLines({ lines }: { lines: readonly LogLine[] }): ReactNode {
  return (
    <ol className="log-lines" aria-label={text('logs.lines')}>
      {keyed(lines).map(([key, line]) => (
        <li key={key}>
          <Line line={line} />
        </li>
      ))}
    </ol>
  );
}

/** Lines have nothing to tell them apart by but what they say; the same words in the same moment are numbered. */
function keyed(lines: readonly LogLine[]): (readonly [key: string, line: LogLine])[] {
  const seen = new Map<string, number>();
  return lines.map((line) => {
    const base = `${line.at} ${line.text}`;
    const count = seen.get(base) ?? 0;
    seen.set(base, count + 1);
    return [`${base} ${count}`, line] as const;
  });
}

function Line({ line }: { line: LogLine }): ReactNode {
  const { at, level, text: sentence, data } = line;
  const { icon, tone } = LEVELS[level];
  const brief = briefOf(data);
  const head = (
    <>
      <time className="muted number nowrap" dateTime={new Date(at).toISOString()} title={formatMoment(at)}>
        {formatSecond(at)}
      </time>
      <span>
        <Badge icon={icon} {...(tone === undefined ? {} : { tone })}>
          {text(`logs.is-${level}`)}
        </Badge>
      </span>
      <span className="log-text">
        <span className="break">{sentence}</span>
        {brief !== '' && <span className="log-brief muted small mono">{brief}</span>}
      </span>
    </>
  );
  if (Object.keys(data).length === 0) return <div className="log-line plain">{head}</div>;
  return (
    <details className="log-line">
      <summary>
        {head}
        <Icon name="chevron-right" />
      </summary>
      <pre className="log-detail">{JSON.stringify(data, null, 2)}</pre>
    </details>
  );
}
