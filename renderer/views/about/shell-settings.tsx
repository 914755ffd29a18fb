import type { ReactNode } from 'react';
import type { Shell } from '../../api/shell.ts';
import { SwitchField } from '../../components/fields.tsx';
import { Card, Facts } from '../../components/page.tsx';
import { text } from '../../strings/text.ts';

/** How the desktop program behaves on this machine. */
export function ShellSettings({ shell: { info, change } }: { shell: Shell }): ReactNode {
  const { startAtLogin, keepAwake, notifications } = info.settings;
  return (
    <Card title={text('shell.title')}>
      <SwitchField
        label={text('shell.login')}
        help={text('shell.login-help')}
        value={startAtLogin}
        onChange={(value) => void change({ startAtLogin: value })}
      />
      <SwitchField
        label={text('shell.awake')}
        help={text('shell.awake-help')}
        value={keepAwake}
        onChange={(value) => void change({ keepAwake: value })}
      />
      <SwitchField
        label={text('shell.notify')}
        help={text('shell.notify-help')}
        value={notifications}
        onChange={(value) => void change({ notifications: value })}
      />
      <Facts facts={[[text('shell.secrets'), text(`shell.secrets-${info.secrets}`)]]} />
    </Card>
  );
}
