import type { ReactNode } from 'react';
import { passwordStrength } from '../models/password-strength.ts';
import { text } from '../strings/text.ts';
import { Meter } from './meter.tsx';
import type { Tone } from './page.tsx';

const TONES: readonly Tone[] = ['bad', 'bad', 'warning', 'good', 'good'];

/** How hard a password that is being chosen is to guess. `own`: what belongs to the person, and so is guessed first. */
export function StrengthMeter({ password, own = [] }: { password: string; own?: readonly string[] }): ReactNode {
  if (password === '') return null;
  const strength = passwordStrength(password, own);
  return (
    <Meter
      label={text('strength.label')}
      value={(strength + 1) / 5}
      valueText={text(`strength.${strength}`)}
      tone={TONES[strength] ?? 'bad'}
    />
  );
}
