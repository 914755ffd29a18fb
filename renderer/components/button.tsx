import type { ReactNode } from 'react';
import { Button as AriaButton, Tooltip, TooltipTrigger } from 'react-aria-components';
import { text } from '../strings/text.ts';
import { Icon, type IconName } from './icon.tsx';

export type ButtonKind = 'primary' | 'secondary' | 'quiet' | 'danger' | 'danger filled';

interface ButtonProps {
  readonly children: ReactNode;
  readonly kind?: ButtonKind;
  readonly size?: 'small' | 'large';
  readonly icon?: IconName;
  readonly type?: 'button' | 'submit';
  readonly isDisabled?: boolean;
  /** Its work is under way: shown, and not begun twice. */
  readonly isBusy?: boolean;
  readonly autoFocus?: boolean;
  readonly onPress?: () => unknown;
  readonly 'aria-describedby'?: string;
}

export function Button({
  children,
  kind = 'secondary',
  size,
  icon,
  isBusy = false,
  onPress,
  ...rest
}: ButtonProps): ReactNode {
  return (
    <AriaButton
      className={`button ${kind} ${size ?? ''}`}
      isPending={isBusy}
      {...(onPress === undefined ? {} : { onPress: () => void onPress() })}
      {...rest}
    >
      {isBusy ? <Spinner /> : icon !== undefined && <Icon name={icon} />}
      {children}
    </AriaButton>
  );
}

/** A button that is an icon: its label is read out, and shown when it is pointed at. */
export function IconButton({
  icon,
  label,
  size,
  onPress,
  isDisabled = false,
}: {
  icon: IconName;
  label: string;
  size?: 'small';
  onPress?: () => unknown;
  isDisabled?: boolean;
}): ReactNode {
  return (
    <TooltipTrigger delay={500}>
      <AriaButton
        className={`button quiet icon-only ${size ?? ''}`}
        aria-label={label}
        isDisabled={isDisabled}
        {...(onPress === undefined ? {} : { onPress: () => void onPress() })}
      >
        <Icon name={icon} />
      </AriaButton>
      <Tooltip className="tip" offset={6}>
        {label}
      </Tooltip>
    </TooltipTrigger>
  );
}

/** A link that looks like a button: to a page of ours (`#/…`) or elsewhere, which opens apart. */
export function ButtonLink({
  href,
  children,
  kind = 'secondary',
  size,
  icon,
}: {
  href: string;
  children: ReactNode;
  kind?: ButtonKind;
  size?: 'small' | 'large';
  icon?: IconName;
}): ReactNode {
  return (
    <a className={`button ${kind} ${size ?? ''}`} href={href} {...outward(href)}>
      {icon !== undefined && <Icon name={icon} />}
      {children}
    </a>
  );
}

/** A link within a text, to a page of ours (`#/…`) or elsewhere, which opens apart. */
export function TextLink({ href, children }: { href: string; children: ReactNode }): ReactNode {
  const away = outward(href);
  return (
    <a href={href} {...away}>
      {children}
      {'target' in away && (
        <>
          {' '}
          <Icon name="external" label={text('common.opens-apart')} />
        </>
      )}
    </a>
  );
}

function outward(href: string): { target: string; rel: string } | object {
  return href.startsWith('#') ? {} : { target: '_blank', rel: 'noreferrer noopener' };
}

export function Spinner(): ReactNode {
  return <span className="spinner" aria-hidden />;
}
