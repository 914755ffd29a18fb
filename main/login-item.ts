import { mkdirSync, rmSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import type { App } from 'electron';
import { writeWhole } from './files.ts';

/** With this argument the program starts without showing its window. */
export const HIDDEN_FLAG = '--hidden';

interface LoginItemParts {
  readonly app: Pick<App, 'setLoginItemSettings'>;
  readonly platform: NodeJS.Platform;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** The program, and what it needs to be told to be this one (nothing, once it is packaged). */
  readonly command: readonly string[];
}

/** Makes the program start at login, hidden, or not. Throws the file system's error. */
export function setLoginItem(
  { app, platform, env, home, command: [program = '', ...args] }: LoginItemParts,
  enabled: boolean,
): void {
  if (platform === 'darwin' || platform === 'win32') {
    // macOS takes no arguments; there the program asks whether it was opened at login.
    app.setLoginItemSettings(
      platform === 'darwin'
        ? { openAtLogin: enabled }
        : { openAtLogin: enabled, path: program, args: [...args, HIDDEN_FLAG] },
    );
    return;
  }
  const config = env['XDG_CONFIG_HOME'] ?? '';
  const directory = join(isAbsolute(config) ? config : join(home, '.config'), 'autostart');
  const file = join(directory, 'hearth.desktop');
  if (!enabled) {
    rmSync(file, { force: true });
    return;
  }
  mkdirSync(directory, { recursive: true });
  // Inside an AppImage the program's own path is gone when it ends; the file that holds it stays.
  const start = [env['APPIMAGE'] ?? program, ...args, HIDDEN_FLAG];
  writeWhole(file, desktopEntry(start));
}

/** Desktop Entry Specification 1.5: an argument in quotes, with what a shell would read as its own escaped; `%` doubled. */
function desktopEntry(command: readonly string[]): string {
  const exec = command
    .map((each) => `"${each.replaceAll(/["`$\\]/g, String.raw`\$&`).replaceAll('%', '%%')}"`)
    .join(' ')
    // The whole value is a string with escapes of its own.
    .replaceAll('\\', '\\\\');
  return [
    '[Desktop Entry]',
    'Type=Application',
    'Name=Hearth',
    'Comment=Matrix homeserver for the household',
    `Exec=${exec}`,
    'Icon=hearth',
    'Terminal=false',
    'X-GNOME-Autostart-enabled=true',
    '',
  ].join('\n');
}
