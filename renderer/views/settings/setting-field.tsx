import type { ReactNode } from 'react';
import type { Setting } from '../../../server/appliance/contract.ts';
import { Button } from '../../components/button.tsx';
import { PasswordField, Select, SwitchField, TextField } from '../../components/fields.tsx';
import { Icon } from '../../components/icon.tsx';
import { Badge } from '../../components/page.tsx';
import { QuantityField } from '../../components/quantity-field.tsx';
import { type Draft, draftOf, isChange, valueOf } from '../../models/setting-draft.ts';
import { NEVER } from '../../models/quantity.ts';
import { text } from '../../strings/text.ts';

interface SettingFieldProps {
  readonly setting: Setting;
  readonly draft: Draft | undefined;
  /** Undefined forgets what was typed. */
  readonly onChange: (draft: Draft | undefined) => void;
  /** What the server said of it. */
  readonly problem: string | undefined;
}

/** One setting, as its kind wants it. */
export function SettingField({ setting, draft, onChange, problem }: SettingFieldProps): ReactNode {
  const isChanged = draft !== undefined && isChange(setting, draft);
  const isReset = draft?.kind === 'reset';
  const isWrong = draft !== undefined && valueOf(setting, draft) === undefined;
  const shown = isWrong
    ? text(setting.kind === 'number' ? 'settings.no-number' : 'quantity.wrong')
    : (problem ?? (isChanged ? undefined : setting.problem));
  return (
    <li className={`setting ${isChanged ? 'changed' : ''}`} id={`setting-${setting.path}`}>
      <Input
        setting={setting}
        draft={draft === undefined || isReset ? draftOf(setting, isReset) : draft}
        onChange={onChange}
        problem={shown}
      />
      <div className="setting-foot small">
        {isChanged && <Badge tone="calm">{text('settings.unsaved')}</Badge>}
        {isChanged && isReset && (
          <span className="muted">
            {text(setting.kind === 'secret' ? 'settings.secret-removed' : 'settings.will-be-default')}
          </span>
        )}
        {setting.needsRestart && (
          <span className="muted">
            <Icon name="refresh" /> {text('settings.restart')}
          </span>
        )}
        {!setting.isSet && !isChanged && <span className="muted">{text('settings.is-default')}</span>}
        {setting.isSet && !isReset && setting.isRequired !== true && (
          <Button kind="quiet" size="small" onPress={() => onChange({ kind: 'reset' })}>
            {text(setting.kind === 'secret' ? 'settings.secret-remove' : 'settings.default')}
            <span className="unseen"> {text('settings.default-of', { title: setting.title })}</span>
          </Button>
        )}
      </div>
    </li>
  );
}

function Input({
  setting: { title, help, kind, choices = [], never, isSet, default: fallback },
  draft,
  onChange,
  problem,
}: {
  setting: Setting;
  draft: Draft;
  onChange: (draft: Draft) => void;
  problem: string | undefined;
}): ReactNode {
  if (draft.kind === 'switch') {
    return (
      <>
        <SwitchField
          label={title}
          help={help}
          value={draft.isOn}
          onChange={(isOn) => onChange({ kind: 'switch', isOn })}
        />
        {problem !== undefined && (
          <p className="field-problem">
            <Icon name="bad" />
            <span>{problem}</span>
          </p>
        )}
      </>
    );
  }
  if (draft.kind === 'quantity') {
    return kind === 'bytes' || kind === 'duration' ? (
      <QuantityField
        label={title}
        help={help}
        kind={kind}
        value={draft.quantity}
        placeholder={draft.quantity.unit === NEVER ? '' : text('settings.unset')}
        never={never}
        onChange={(quantity) => onChange({ kind: 'quantity', quantity })}
        problem={problem}
      />
    ) : null;
  }
  const value = draft.kind === 'text' ? draft.text : '';
  const change = (typed: string): void => onChange({ kind: 'text', text: typed });
  if (kind === 'secret') {
    return (
      <PasswordField
        label={title}
        help={isSet ? `${help} ${text('settings.secret-set')}` : help}
        value={value}
        onChange={change}
        autoComplete="off"
        problem={problem}
      />
    );
  }
  if (kind === 'choice') {
    return (
      <Select
        label={title}
        help={help}
        value={value}
        choices={[
          ...(value === '' ? [{ id: '', title: text('settings.unset') }] : []),
          ...choices.map(({ value: id, title: name }) => ({ id, title: name })),
        ]}
        onChange={change}
        problem={problem}
      />
    );
  }
  const isList = kind === 'list';
  return (
    <TextField
      label={title}
      help={isList ? `${help} ${text('settings.list-help')}` : help}
      value={value}
      onChange={change}
      problem={problem}
      autoComplete="off"
      placeholder={
        typeof fallback === 'string' || typeof fallback === 'number' ? String(fallback) : text('settings.unset')
      }
      {...(isList ? { rows: 3, isCode: true } : {})}
    />
  );
}
