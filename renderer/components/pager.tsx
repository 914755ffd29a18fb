import type { ReactNode } from 'react';
import { text } from '../strings/text.ts';
import { Button } from './button.tsx';

/** Leafs through a long list, which the server gives in pages. */
export function Pager({
  from,
  shown,
  total,
  next,
  onChange,
  size,
}: {
  from: number;
  shown: number;
  total: number;
  next: number | undefined;
  onChange: (from: number) => void;
  size: number;
}): ReactNode {
  if (from === 0 && next === undefined) return null;
  return (
    <div className="pager">
      <p className="muted small number" role="status">
        {shown === 0 ? text('pager.none', { total }) : text('pager.range', { from: from + 1, to: from + shown, total })}
      </p>
      <div className="row tight">
        <Button
          size="small"
          icon="arrow-left"
          isDisabled={from === 0}
          onPress={() => onChange(Math.max(0, from - size))}
        >
          {text('pager.back')}
        </Button>
        <Button
          size="small"
          icon="arrow-right"
          isDisabled={next === undefined}
          onPress={() => {
            if (next !== undefined) onChange(next);
          }}
        >
          {text('pager.on')}
        </Button>
      </div>
    </div>
  );
}
