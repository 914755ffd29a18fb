import type * as Electron from 'electron';

interface Item {
  readonly id: string;
  readonly label: string;
  readonly enabled: boolean;
  readonly checked: boolean;
  readonly submenu: Menu | undefined;
  click(): void;
}

/** A menu, as it is built of a template. */
export class Menu {
  static #application: Menu | null = null;
  readonly items: readonly Item[];

  constructor(items: readonly Item[]) {
    this.items = items;
  }

  static buildFromTemplate(template: readonly Electron.MenuItemConstructorOptions[]): Menu {
    return new Menu(
      template.map(({ id = '', label = '', enabled = true, checked = false, click, submenu, type, role }) => {
        if (label === '' && type !== 'separator' && role === undefined)
          throw new Error('Invalid template for MenuItem');
        return {
          id,
          label,
          enabled,
          checked,
          submenu: Array.isArray(submenu) ? Menu.buildFromTemplate(submenu) : undefined,
          // As by a person, who cannot click what is greyed out.
          click: () => {
            if (enabled) (click as (() => void) | undefined)?.();
          },
        };
      }),
    );
  }

  static setApplicationMenu(menu: Menu | null): void {
    Menu.#application = menu;
  }

  static getApplicationMenu(): Menu | null {
    return Menu.#application;
  }

  getMenuItemById(id: string): Item | null {
    for (const item of this.items) {
      const found = item.id === id ? item : item.submenu?.getMenuItemById(id);
      if (found !== undefined && found !== null) return found;
    }
    return null;
  }
}
