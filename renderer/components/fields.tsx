import { type ReactNode, useState } from 'react';
import {
  Button as AriaButton,
  Checkbox,
  FieldError,
  Input,
  Label,
  ListBox,
  ListBoxItem,
  Popover,
  Radio,
  RadioGroup,
  SearchField as AriaSearchField,
  Select as AriaSelect,
  SelectValue,
  Switch,
  Text,
  TextArea,
  TextField as AriaTextField,
  ToggleButton,
  ToggleButtonGroup,
} from 'react-aria-components';
import { text } from '../strings/text.ts';
import { IconButton } from './button.tsx';
import { Icon, type IconName } from './icon.tsx';

interface FieldProps {
  readonly label: string;
  readonly help?: ReactNode;
  /** What is wrong with the value, in words. */
  readonly problem?: string | undefined;
  readonly isDisabled?: boolean;
}

interface TextFieldProps extends FieldProps {
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly onBlur?: () => void;
  readonly placeholder?: string;
  readonly type?: 'text' | 'url' | 'email' | 'number';
  readonly name?: string;
  readonly autoComplete?: string;
  readonly autoFocus?: boolean;
  readonly isRequired?: boolean;
  readonly isReadOnly?: boolean;
  /** Letters of one width, for names that machines read. */
  readonly isCode?: boolean;
  /** Several lines. */
  readonly rows?: number;
  readonly min?: number;
  readonly max?: number;
}

/** One line of text, or several with `rows`. */
export function TextField({
  label,
  help,
  problem,
  placeholder,
  isCode = false,
  rows,
  min,
  max,
  ...rest
}: TextFieldProps): ReactNode {
  const className = `input ${isCode ? 'code' : ''}`;
  return (
    <AriaTextField
      className="field"
      validationBehavior="aria"
      isInvalid={problem !== undefined}
      {...codeHints(isCode)}
      {...rest}
    >
      <Label className="field-label">{label}</Label>
      {help !== undefined && <FieldHelp>{help}</FieldHelp>}
      {rows === undefined ? (
        <Input className={className} {...optional({ placeholder, min, max })} />
      ) : (
        <TextArea className={className} rows={rows} {...optional({ placeholder })} />
      )}
      <FieldProblem problem={problem} />
    </AriaTextField>
  );
}

function codeHints(isCode: boolean): object {
  return isCode ? { autoCapitalize: 'none', autoCorrect: 'off', spellCheck: 'false' } : {};
}

/** The given ones: a property that is not known is left out, as exact optional types want it. */
function optional<T extends object>(properties: T): { [K in keyof T]: NonNullable<T[K]> } {
  const given = Object.entries(properties).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as { [K in keyof T]: NonNullable<T[K]> };
}

function FieldHelp({ children }: { children: ReactNode }): ReactNode {
  return (
    <Text slot="description" className="field-help">
      {children}
    </Text>
  );
}

function FieldProblem({ problem }: { problem: string | undefined }): ReactNode {
  return (
    problem !== undefined && (
      <FieldError className="field-problem">
        <Icon name="bad" />
        <span>{problem}</span>
      </FieldError>
    )
  );
}

interface PasswordFieldProps extends FieldProps {
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly name?: string;
  /** `new-password` for one that is being chosen. */
  readonly autoComplete?: 'current-password' | 'new-password' | 'off';
  readonly autoFocus?: boolean;
  readonly isRequired?: boolean;
}

/** A secret, which can be shown. */
export function PasswordField({
  label,
  help,
  problem,
  autoComplete = 'current-password',
  ...rest
}: PasswordFieldProps): ReactNode {
  const [isShown, setShown] = useState(false);
  return (
    <AriaTextField
      className="field"
      type={isShown ? 'text' : 'password'}
      validationBehavior="aria"
      isInvalid={problem !== undefined}
      autoComplete={autoComplete}
      {...codeHints(true)}
      {...rest}
    >
      <Label className="field-label">{label}</Label>
      {help !== undefined && <FieldHelp>{help}</FieldHelp>}
      <div className="input-box">
        <Input className="input" />
        <IconButton
          icon={isShown ? 'eye-off' : 'eye'}
          label={text(isShown ? 'common.hide-secret' : 'common.show-secret')}
          onPress={() => setShown(!isShown)}
        />
      </div>
      <FieldProblem problem={problem} />
    </AriaTextField>
  );
}

export function SearchField({
  label,
  value,
  onChange,
  placeholder,
}: {
  label: string;
  value: string;
  onChange: (value: string) => void;
  placeholder?: string;
}): ReactNode {
  return (
    <AriaSearchField className="field grow" aria-label={label} value={value} onChange={onChange}>
      <div className="input-box search">
        <Icon name="search" />
        <Input className="input" {...optional({ placeholder })} />
      </div>
    </AriaSearchField>
  );
}

export interface Choice<Id extends string = string> {
  readonly id: Id;
  readonly title: string;
  readonly text?: string;
  readonly icon?: IconName;
}

/** One of several, in a list that opens. */
export function Select<Id extends string>({
  label,
  help,
  problem,
  value,
  choices,
  onChange,
  isDisabled = false,
  isLabelHidden = false,
}: FieldProps & {
  value: Id;
  choices: readonly Choice<Id>[];
  onChange: (value: Id) => void;
  isLabelHidden?: boolean;
}): ReactNode {
  return (
    <AriaSelect
      className="field"
      value={value}
      isDisabled={isDisabled}
      isInvalid={problem !== undefined}
      onChange={(key) => {
        const choice = choices.find(({ id }) => id === key);
        if (choice !== undefined) onChange(choice.id);
      }}
    >
      <Label className={isLabelHidden ? 'unseen' : 'field-label'}>{label}</Label>
      {help !== undefined && <FieldHelp>{help}</FieldHelp>}
      <AriaButton className="select-button">
        <SelectValue />
        <Icon name="chevron-down" />
      </AriaButton>
      <FieldProblem problem={problem} />
      <Popover className="popover" offset={4}>
        <ListBox>
          {choices.map(({ id, title }) => (
            <ListBoxItem key={id} id={id} textValue={title} className="option">
              {title}
            </ListBoxItem>
          ))}
        </ListBox>
      </Popover>
    </AriaSelect>
  );
}

/** On or off, at once. */
export function SwitchField({
  label,
  help,
  value,
  onChange,
  isDisabled = false,
}: {
  label: string;
  help?: ReactNode;
  value: boolean;
  onChange: (value: boolean) => void;
  isDisabled?: boolean;
}): ReactNode {
  return (
    <Switch className="switch" isSelected={value} onChange={onChange} isDisabled={isDisabled}>
      <span className="switch-track" />
      <span className="grow">
        <span className="field-label">{label}</span>
        {help !== undefined && (
          <span className="field-help" style={{ display: 'block' }}>
            {help}
          </span>
        )}
      </span>
    </Switch>
  );
}

/** Yes or no, as a part of a form or of a list. Without `label`, `name` says what it is for. */
export function CheckboxField({
  label,
  help,
  name,
  value,
  isSome = false,
  onChange,
  isDisabled = false,
}: {
  label?: string;
  help?: ReactNode;
  name?: string;
  value: boolean;
  /** Some of what it stands for are chosen. */
  isSome?: boolean;
  onChange: (value: boolean) => void;
  isDisabled?: boolean;
}): ReactNode {
  return (
    <Checkbox
      className="checkbox"
      isSelected={value}
      isIndeterminate={isSome}
      onChange={onChange}
      isDisabled={isDisabled}
      {...(name === undefined ? {} : { 'aria-label': name })}
    >
      <span className="checkbox-box">{isSome ? <Icon name="skipped" /> : value && <Icon name="check" />}</span>
      {label !== undefined && (
        <span className="grow">
          {label}
          {help !== undefined && (
            <span className="field-help" style={{ display: 'block' }}>
              {help}
            </span>
          )}
        </span>
      )}
    </Checkbox>
  );
}

/** One of a few that want explaining. */
export function RadioCards<Id extends string>({
  label,
  isLabelHidden = false,
  value,
  choices,
  onChange,
  isDisabled = false,
}: {
  label: string;
  isLabelHidden?: boolean;
  value: Id | undefined;
  choices: readonly Choice<Id>[];
  onChange: (value: Id) => void;
  isDisabled?: boolean;
}): ReactNode {
  return (
    <RadioGroup
      className="field"
      value={value ?? null}
      isDisabled={isDisabled}
      onChange={(id) => {
        const choice = choices.find((each) => each.id === id);
        if (choice !== undefined) onChange(choice.id);
      }}
    >
      <Label className={isLabelHidden ? 'unseen' : 'field-label'}>{label}</Label>
      <div className="radio-cards">
        {choices.map((choice) => (
          <Radio key={choice.id} value={choice.id} className="radio-card">
            {choice.icon === undefined ? <span /> : <Icon name={choice.icon} />}
            <span>
              <span className="radio-card-title">{choice.title}</span>
              {choice.text !== undefined && (
                <span className="field-help" style={{ display: 'block' }}>
                  {choice.text}
                </span>
              )}
            </span>
            <span className="radio-card-dot" />
          </Radio>
        ))}
      </div>
    </RadioGroup>
  );
}

/** One of two to four short ones, all in sight: what is shown rather than what is set. */
export function Segments<Id extends string>({
  label,
  value,
  choices,
  onChange,
}: {
  label: string;
  value: Id;
  choices: readonly Choice<Id>[];
  onChange: (value: Id) => void;
}): ReactNode {
  return (
    <ToggleButtonGroup
      className="segments"
      aria-label={label}
      selectionMode="single"
      disallowEmptySelection
      selectedKeys={[value]}
      onSelectionChange={(keys) => {
        const choice = choices.find(({ id }) => keys.has(id));
        if (choice !== undefined) onChange(choice.id);
      }}
    >
      {choices.map(({ id, title, icon }) => (
        <ToggleButton key={id} id={id} className="segment" {...(icon === undefined ? {} : { 'aria-label': title })}>
          {icon === undefined ? title : <Icon name={icon} />}
        </ToggleButton>
      ))}
    </ToggleButtonGroup>
  );
}
