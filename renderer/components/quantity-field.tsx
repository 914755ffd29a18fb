import type { ReactNode } from 'react';
import { NEVER, type Quantity, type QuantityKind, unitsOf } from '../models/quantity.ts';
import { text } from '../strings/text.ts';
import { Select, TextField } from './fields.tsx';

/** A size or a duration: an amount and its unit. */
export function QuantityField({
  label,
  help,
  problem,
  kind,
  value,
  placeholder,
  never,
  onChange,
}: {
  label: string;
  help?: ReactNode;
  problem?: string | undefined;
  kind: QuantityKind;
  value: Quantity;
  placeholder?: string;
  /** What no limit is called, where that can be chosen. */
  never?: string | undefined;
  onChange: (value: Quantity) => void;
}): ReactNode {
  return (
    <div className="quantity">
      <TextField
        label={label}
        help={help}
        problem={problem}
        value={value.amount}
        onChange={(amount) => onChange({ ...value, amount })}
        isDisabled={value.unit === NEVER}
        autoComplete="off"
        {...(placeholder === undefined ? {} : { placeholder })}
      />
      <Select<Quantity['unit']>
        label={text('quantity.unit', { label })}
        isLabelHidden
        value={value.unit}
        choices={[
          ...unitsOf(kind).map((unit) => ({ id: unit, title: text(`unit.${unit}`) })),
          ...(never === undefined ? [] : [{ id: NEVER, title: never } as const]),
        ]}
        onChange={(unit) => onChange(unit === NEVER ? { amount: '', unit } : { ...value, unit })}
      />
    </div>
  );
}
