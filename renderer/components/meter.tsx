import type { ReactNode } from 'react';
import { Meter as AriaMeter, ProgressBar } from 'react-aria-components';
import { formatBytes, formatPercent } from '../models/format.ts';
import { type PlainKey, text } from '../strings/text.ts';
import type { Tone } from './page.tsx';

/** How much of something there is, from 0 to 1. `valueText` says it in words. */
export function Meter({
  label,
  value,
  valueText,
  tone,
}: {
  label: string;
  value: number;
  valueText: string;
  tone?: Tone;
}): ReactNode {
  return (
    <AriaMeter className="meter" aria-label={label} value={value} minValue={0} maxValue={1} valueLabel={valueText}>
      <div className="row apart tight small">
        <span>{label}</span>
        <span className="muted">{valueText}</span>
      </div>
      <div className="meter-track">
        <div className={`meter-fill ${tone ?? ''}`} style={{ width: formatShare(value) }} />
      </div>
    </AriaMeter>
  );
}

/** How far something has come, from 0 to 1; undefined while that cannot be told. */
export function Progress({ label, value }: { label: string; value: number | undefined }): ReactNode {
  return (
    <ProgressBar
      className="meter"
      aria-label={label}
      isIndeterminate={value === undefined}
      value={value ?? 0}
      minValue={0}
      maxValue={1}
      valueLabel={value === undefined ? undefined : formatPercent(value)}
    >
      <div className="meter-track">
        <div
          className={`meter-fill ${value === undefined ? 'unknown' : ''}`}
          {...(value === undefined ? {} : { style: { width: formatShare(value) } })}
        />
      </div>
    </ProgressBar>
  );
}

function formatShare(value: number): string {
  return `${Math.min(100, Math.max(0, value * 100))}%`;
}

export interface Part {
  readonly id: string;
  readonly title: PlainKey;
  readonly bytes: number;
  readonly colour: string;
}

/** What takes how much of a whole, in bytes. */
export function PartsBar({ parts, label }: { parts: readonly Part[]; label: string }): ReactNode {
  const whole = parts.reduce((sum, { bytes }) => sum + bytes, 0);
  return (
    <div className="stack">
      <div className="parts-bar" aria-hidden>
        {parts
          .filter(({ bytes }) => bytes > 0)
          .map(({ id, bytes, colour }) => (
            <span key={id} style={{ flex: `${bytes / whole} 0 0`, background: colour }} />
          ))}
      </div>
      <ul className="legend small" aria-label={label}>
        {parts.map(({ id, title, bytes, colour }) => (
          <li key={id}>
            <span className="swatch" style={{ background: colour }} />
            <span>{text(title)}</span>
            <span className="muted number nowrap">{formatBytes(bytes)}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
