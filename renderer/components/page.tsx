import { type ReactNode, useEffect, useId, useRef } from 'react';
import { text } from '../strings/text.ts';
import { type Failure, Refusal, Unreachable } from '../api/api.ts';
import type { Read } from '../api/calls.ts';
import { Button } from './button.tsx';
import { Icon, type IconName } from './icon.tsx';

export type Tone = 'good' | 'warning' | 'bad' | 'calm';

/** A page within the frame: its title, what it is for, and what can be done at once. */
export function Page({
  title,
  lead,
  actions,
  children,
}: {
  title: string;
  lead?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}): ReactNode {
  const heading = usePageTitle(title);
  return (
    <div className="page">
      <header className="page-head">
        <div>
          <h1 ref={heading} tabIndex={-1}>
            {title}
          </h1>
          {lead !== undefined && <p className="page-lead">{lead}</p>}
        </div>
        {actions !== undefined && <div className="row tight">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

let isFirstPage = true;

/** Names the window after the page, and takes keyboard and screen reader to its heading when it replaces another page. */
export function usePageTitle(title: string): React.RefObject<HTMLHeadingElement | null> {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · ${text('app.name')}`;
  }, [title]);
  useEffect(() => {
    if (!isFirstPage && !(document.activeElement instanceof HTMLInputElement)) {
      heading.current?.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    isFirstPage = false;
  }, []);
  return heading;
}

/** A group of things that belong together. `isFlush`: its content reaches its edges, as a table does. */
export function Card({
  title,
  lead,
  actions,
  isFlush = false,
  children,
}: {
  title?: string;
  lead?: ReactNode;
  actions?: ReactNode;
  isFlush?: boolean;
  children: ReactNode;
}): ReactNode {
  const id = useId();
  const className = `card ${isFlush ? 'flush' : ''}`;
  if (title === undefined) return <div className={className}>{children}</div>;
  return (
    <section className={className} aria-labelledby={id}>
      <div className="card-head">
        <div>
          <h2 id={id}>{title}</h2>
          {lead !== undefined && <p className="card-lead">{lead}</p>}
        </div>
        {actions !== undefined && <div className="row tight">{actions}</div>}
      </div>
      {children}
    </section>
  );
}

const TONE_ICONS: Readonly<Record<Tone, IconName>> = { good: 'good', warning: 'warning', bad: 'bad', calm: 'info' };

/** Something that has to be read. `isLive`: read out when it appears. */
export function Notice({
  tone = 'calm',
  title,
  children,
  actions,
  isLive = false,
}: {
  tone?: Tone;
  title?: string;
  children?: ReactNode;
  actions?: ReactNode;
  isLive?: boolean;
}): ReactNode {
  return (
    <div className={`notice ${tone}`} {...(isLive ? { role: tone === 'bad' ? 'alert' : 'status' } : {})}>
      <Icon name={TONE_ICONS[tone]} className={`tone-${tone}`} />
      <div className="notice-body">
        {title !== undefined && <strong>{title}</strong>}
        {children !== undefined && <div>{children}</div>}
        {actions !== undefined && <div className="row tight">{actions}</div>}
      </div>
    </div>
  );
}

export function Badge({ tone, icon, children }: { tone?: Tone; icon?: IconName; children: ReactNode }): ReactNode {
  return (
    <span className={`badge ${tone ?? ''}`}>
      {icon !== undefined && <Icon name={icon} />}
      {children}
    </span>
  );
}

/** Names and their values. What is undefined is left out. */
export function Facts({ facts }: { facts: readonly (readonly [name: string, value: ReactNode])[] }): ReactNode {
  return (
    <dl className="facts">
      {facts
        .filter(([, value]) => value !== undefined)
        .flatMap(([name, value]) => [<dt key={`${name} name`}>{name}</dt>, <dd key={name}>{value}</dd>])}
    </dl>
  );
}

/** Nothing is there yet: says what will be, and how to begin. */
export function EmptyState({
  icon,
  title,
  children,
  action,
}: {
  icon: IconName;
  title: string;
  children?: ReactNode;
  action?: ReactNode;
}): ReactNode {
  return (
    <div className="blank">
      <Icon name={icon} />
      <p className="blank-title">{title}</p>
      {children !== undefined && <p>{children}</p>}
      {action}
    </div>
  );
}

/** Something could not be had: why, and again. */
export function FailedState({
  failure,
  onRetry,
  isRetrying = false,
}: {
  failure: Failure;
  onRetry?: () => unknown;
  isRetrying?: boolean;
}): ReactNode {
  return (
    <div className="blank" role="alert">
      <Icon name={failure instanceof Refusal && failure.status === 503 ? 'hourglass' : 'warning'} />
      <p className="blank-title">
        {text(failure instanceof Refusal && failure.status === 503 ? 'common.not-now' : 'common.failed')}
      </p>
      <p>{failure instanceof Unreachable ? text('common.no-answer') : sayFailure(failure)}</p>
      {onRetry !== undefined && (
        <Button icon="refresh" onPress={onRetry} isBusy={isRetrying}>
          {text('common.try-again')}
        </Button>
      )}
    </div>
  );
}

/** Why something that was to be done failed, in a sentence. */
export function sayFailure(failure: Failure): string {
  if (failure instanceof Unreachable) return text('common.not-heard');
  return asSentence(failure.message);
}

/** What the server says of a fault ends as sentences do. */
export function asSentence(words: string): string {
  return words === '' || /[.!?…]$/.test(words) ? words : `${words}.`;
}

/** What is shown where something will be. */
export function Skeleton({ lines = 3 }: { lines?: number }): ReactNode {
  return (
    <div className="skeleton" role="status">
      <span className="unseen" style={{ background: 'none' }}>
        {text('common.loading')}
      </span>
      {Array.from({ length: lines }, (_line, at) => (
        <span key={at} style={{ width: `${[92, 74, 84, 61, 79][at % 5]}%` }} aria-hidden />
      ))}
    </div>
  );
}

/** What was read, once it is there; before that what stands for it, and where it fails the reason. */
export function Loaded<T>({
  read,
  lines = 4,
  children,
}: {
  read: Read<T>;
  lines?: number;
  children: (value: T) => ReactNode;
}): ReactNode {
  if (read.data !== undefined) return children(read.data);
  if (read.error !== null) {
    return <FailedState failure={read.error} onRetry={() => read.refetch()} isRetrying={read.isFetching} />;
  }
  return <Skeleton lines={lines} />;
}

/** More for those who want it. */
export function Details({
  summary,
  children,
  isOpen = false,
}: {
  summary: string;
  children: ReactNode;
  isOpen?: boolean;
}): ReactNode {
  return (
    <details className="details" open={isOpen}>
      <summary>
        <Icon name="chevron-right" />
        {summary}
      </summary>
      <div>{children}</div>
    </details>
  );
}
