import type { Setting, SettingValue } from '../../server/appliance/contract.ts';
import { joinQuantity, NEVER, type Quantity, splitQuantity } from './quantity.ts';

/** A setting as it is being typed. `reset`: back to its default, or a secret taken out. */
export type Draft =
  | { readonly kind: 'reset' }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'switch'; readonly isOn: boolean }
  | { readonly kind: 'quantity'; readonly quantity: Quantity };

/** What is shown in its field before anything is typed, or after it was put back to its default. */
export function draftOf(setting: Setting, isReset = false): Draft {
  const value = isReset ? setting.default : setting.value;
  switch (setting.kind) {
    case 'switch':
      return { kind: 'switch', isOn: value === true };
    case 'bytes':
    case 'duration':
      if (value === NEVER) return { kind: 'quantity', quantity: { amount: '', unit: NEVER } };
      return { kind: 'quantity', quantity: splitQuantity(setting.kind, typeof value === 'number' ? value : null) };
    case 'list':
      return { kind: 'text', text: Array.isArray(value) ? value.join('\n') : '' };
    case 'secret':
      return { kind: 'text', text: '' };
    case 'text':
    case 'number':
    case 'choice':
      return { kind: 'text', text: value === null ? '' : String(value) };
  }
}

/** What is sent of a draft: null puts a setting back; undefined where it is no value. */
export function valueOf(setting: Setting, draft: Draft): SettingValue | undefined {
  switch (draft.kind) {
    case 'reset':
      return null;
    case 'switch':
      return draft.isOn;
    case 'quantity':
      if (draft.quantity.unit === NEVER) return NEVER;
      return setting.kind === 'bytes' || setting.kind === 'duration'
        ? joinQuantity(setting.kind, draft.quantity)
        : undefined;
    case 'text':
      return readText(setting, draft.text);
  }
}

function readText(setting: Setting, typed: string): SettingValue | undefined {
  const trimmed = typed.trim();
  switch (setting.kind) {
    case 'number':
      if (trimmed === '') return null;
      return readNumber(trimmed);
    case 'list': {
      const lines = trimmed
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => line !== '');
      // Of servers to talk to, an empty list would be none at all: whoever clears the field wants all of them.
      return lines.length === 0 && setting.default === null ? null : lines;
    }
    case 'secret':
      return typed;
    default:
      return trimmed === '' ? null : trimmed;
  }
}

/** With a point or a comma. */
function readNumber(typed: string): number | undefined {
  return /^-?\d+([.,]\d+)?$/.test(typed) ? Number(typed.replace(',', '.')) : undefined;
}

/** Whether a draft says something else than what is there. */
export function isChange(setting: Setting, draft: Draft): boolean {
  if (draft.kind === 'reset') return setting.isSet;
  if (setting.kind === 'secret') return draft.kind === 'text' && draft.text !== '';
  return JSON.stringify(draft) !== JSON.stringify(draftOf(setting));
}
