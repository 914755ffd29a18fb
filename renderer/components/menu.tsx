import type { ReactNode } from 'react';
import { Button as AriaButton, Menu, MenuItem, MenuTrigger, Popover } from 'react-aria-components';
import { Icon, type IconName } from './icon.tsx';

export interface MenuAction {
  readonly id: string;
  readonly title: string;
  readonly icon?: IconName;
  readonly isDangerous?: boolean;
  readonly isDisabled?: boolean;
  readonly onPress: () => unknown;
}

/** More that can be done with something; `label` says with what. */
export function MenuButton({ label, actions }: { label: string; actions: readonly MenuAction[] }): ReactNode {
  return (
    <MenuTrigger>
      <AriaButton className="button quiet icon-only" aria-label={label}>
        <Icon name="more" />
      </AriaButton>
      <Popover className="popover" placement="bottom end" offset={4}>
        <Menu
          onAction={(id) => {
            void actions.find((action) => action.id === id)?.onPress();
          }}
          disabledKeys={actions.filter(({ isDisabled }) => isDisabled === true).map(({ id }) => id)}
        >
          {actions.map(({ id, title, icon, isDangerous = false }) => (
            <MenuItem key={id} id={id} textValue={title} className={`option ${isDangerous ? 'danger' : ''}`}>
              {icon !== undefined && <Icon name={icon} />}
              {title}
            </MenuItem>
          ))}
        </Menu>
      </Popover>
    </MenuTrigger>
  );
}
