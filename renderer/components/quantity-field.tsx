import type { ReactNode } from 'react';
import { type Quantity, type QuantityKind, type Unit, unitsOf } from '../models/quantity.ts';
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
  onChange,
}: {
  label: string;
  help?: ReactNode;
  problem?: string | undefined;
  kind: QuantityKind;
  value: Quantity;
  placeholder?: string;
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
        autoComplete="off"
        {...(placeholder === undefined ? {} : { placeholder })}
      />
      <Select<Unit>
        label={text('quantity.unit', { label })}
        isLabelHidden
        value={value.unit}
        choices={unitsOf(kind).map((unit) => ({ id: unit, title: text(`unit.${unit}`) }))}
        onChange={(unit) => onChange({ ...value, unit })}
      />
    </div>
  );
}
