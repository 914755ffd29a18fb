import { type ReactNode, useSyncExternalStore } from 'react';
import { Segments } from '../../components/fields.tsx';
import { Store } from '../../models/store.ts';
import { keepTheme, readTheme, type Theme } from '../../models/theme.ts';
import { text } from '../../strings/text.ts';

const theme = new Store<Theme>(readTheme(localStorage));

/** Gives the page the look that was chosen on this machine. */
export function applyTheme(): void {
  const chosen = theme.get();
  if (chosen === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = chosen;
}

export function ThemeSwitch(): ReactNode {
  const chosen = useSyncExternalStore(theme.subscribe, theme.get);
  return (
    <Segments
      label={text('frame.theme')}
      value={chosen}
      choices={[
        { id: 'system', title: text('theme.system'), icon: 'contrast' },
        { id: 'light', title: text('theme.light'), icon: 'sun' },
        { id: 'dark', title: text('theme.dark'), icon: 'moon' },
      ]}
      onChange={(next) => {
        keepTheme(localStorage, next);
        theme.set(next);
        applyTheme();
      }}
    />
  );
}
