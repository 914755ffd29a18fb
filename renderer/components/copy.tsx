import { type ReactNode, useEffect, useMemo, useState } from 'react';
import { create } from 'qrcode/lib/core/qrcode.js';
import { text } from '../strings/text.ts';
import { Button, IconButton } from './button.tsx';
import { useToast } from './toasts.tsx';

const SHOWN_MS = 2_000;

function useCopy(value: string): { isCopied: boolean; copy: () => Promise<void> } {
  const [isCopied, setCopied] = useState(false);
  const toast = useToast();
  useEffect(() => {
    if (!isCopied) return;
    const timer = setTimeout(() => setCopied(false), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [isCopied]);
  return {
    isCopied,
    copy: async () => {
      try {
        await navigator.clipboard.writeText(value);
        setCopied(true);
        toast.done(text('copy.done'));
      } catch {
        toast.failed(text('copy.failed'));
      }
    },
  };
}

/** Puts a text on the clipboard. `what` says which, where several such buttons are on a page. */
export function CopyButton({ value, what }: { value: string; what?: string }): ReactNode {
  const { isCopied, copy } = useCopy(value);
  return (
    <Button kind="quiet" size="small" icon={isCopied ? 'check' : 'copy'} onPress={copy}>
      {text(isCopied ? 'copy.copied' : 'copy.copy')}
      {what !== undefined && <span className="unseen"> {what}</span>}
    </Button>
  );
}

/** The same as an icon. */
export function CopyIcon({ value, what }: { value: string; what: string }): ReactNode {
  const { isCopied, copy } = useCopy(value);
  return (
    <IconButton icon={isCopied ? 'check' : 'copy'} size="small" label={text('copy.what', { what })} onPress={copy} />
  );
}

/** A short text that somebody will want to copy. */
export function CopyField({
  label,
  value,
  isLabelHidden = false,
}: {
  label: string;
  value: string;
  isLabelHidden?: boolean;
}): ReactNode {
  return (
    <div className="field" role="group" aria-label={label}>
      <span className={isLabelHidden ? 'unseen' : 'field-label'} aria-hidden>
        {label}
      </span>
      <div className="copy-field">
        <code>{value}</code>
        <CopyIcon value={value} what={label} />
      </div>
    </div>
  );
}

/** A file or a part of one, to be copied. */
export function CodeBlock({ title, code }: { title: string; code: string }): ReactNode {
  return (
    <figure className="code-block">
      <figcaption className="code-head">
        <span className="break">{title}</span>
        <CopyButton value={code} what={title} />
      </figcaption>
      {/* Long lines scroll, which the keyboard has to be able to do as well. */}
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <pre tabIndex={0} role="region" aria-label={title}>
        <code>{code}</code>
      </pre>
    </figure>
  );
}

const QUIET = 2;

/** A QR code: of a text, or a drawing (SVG) that was made of one elsewhere. `label` says what it leads to. */
export function QrCode({ label, ...of }: { label: string } & ({ value: string } | { svg: string })): ReactNode {
  const value = 'value' in of ? of.value : undefined;
  const drawing = useMemo(() => (value === undefined ? undefined : drawQr(value)), [value]);
  return (
    <div className="qr">
      {drawing === undefined ? (
        <img src={`data:image/svg+xml,${encodeURIComponent('svg' in of ? of.svg : '')}`} alt={label} />
      ) : (
        <svg viewBox={`0 0 ${drawing.size} ${drawing.size}`} role="img" aria-label={label} shapeRendering="crispEdges">
          <path d={drawing.path} fill="#1c140d" />
        </svg>
      )}
    </div>
  );
}

function drawQr(value: string): { size: number; path: string } {
  const { modules } = create(value, { errorCorrectionLevel: 'M' });
  let path = '';
  for (let row = 0; row < modules.size; row += 1) {
    for (let column = 0; column < modules.size; column += 1) {
      if (modules.get(row, column) === 1) path += `M${column + QUIET} ${row + QUIET}h1v1h-1z`;
    }
  }
  return { size: modules.size + 2 * QUIET, path };
}
