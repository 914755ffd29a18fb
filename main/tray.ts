import { join } from 'node:path';
import type { Menu, NativeImage, Tray } from 'electron';
import type { TrayIcon } from './contract.ts';

interface TrayParts {
  readonly create: (image: NativeImage) => Pick<Tray, 'setImage' | 'setToolTip' | 'setContextMenu' | 'on' | 'destroy'>;
  readonly loadImage: (path: string) => NativeImage;
  readonly icons: string;
  readonly platform: NodeJS.Platform;
  /** Whether the bar it stands on is dark, as far as that can be known. */
  readonly isDark: () => boolean;
  readonly onClick: () => void;
}

/** The icon beside the clock. Where the desktop shows none, starting the program once more opens its window. */
export class TrayFace {
  readonly #parts: TrayParts;
  readonly #tray: ReturnType<TrayParts['create']>;
  #icon: TrayIcon;
  #text = '';

  constructor(parts: TrayParts, icon: TrayIcon) {
    this.#parts = parts;
    this.#icon = icon;
    this.#tray = parts.create(this.#image());
    // On macOS a click opens the menu, as people expect of it there.
    if (parts.platform !== 'darwin') this.#tray.on('click', parts.onClick);
  }

  /** `menu`: only where it is another one, or an open menu would be closed under the person's hand. */
  show(icon: TrayIcon, text: string, menu: Menu | undefined): void {
    if (icon !== this.#icon) {
      this.#icon = icon;
      this.repaint();
    }
    if (text !== this.#text) {
      this.#text = text;
      this.#tray.setToolTip(text);
    }
    if (menu !== undefined) this.#tray.setContextMenu(menu);
  }

  /** The desktop's colours have changed. */
  repaint(): void {
    this.#tray.setImage(this.#image());
  }

  destroy(): void {
    this.#tray.destroy();
  }

  #image(): NativeImage {
    const { platform, loadImage, icons, isDark } = this.#parts;
    // macOS paints a template in the colour that suits its bar; elsewhere that is ours to choose.
    const variant = platform === 'darwin' ? 'Template' : isDark() ? '-light' : '-dark';
    // Windows chooses of several sizes the one that suits its bar.
    return loadImage(join(icons, `tray-${this.#icon}${variant}.${platform === 'win32' ? 'ico' : 'png'}`));
  }
}
