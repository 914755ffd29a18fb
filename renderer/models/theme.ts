export type Theme = 'system' | 'light' | 'dark';

const KEY = 'hearth.theme';

/** The look somebody chose on this machine. */
export function readTheme(storage: Pick<Storage, 'getItem'>): Theme {
  const theme = storage.getItem(KEY);
  return theme === 'light' || theme === 'dark' ? theme : 'system';
}

export function keepTheme(storage: Pick<Storage, 'setItem' | 'removeItem'>, theme: Theme): void {
  if (theme === 'system') storage.removeItem(KEY);
  else storage.setItem(KEY, theme);
}
