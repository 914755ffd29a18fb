/** What the parts of the stand-in share. */
import { setImmediate } from 'node:timers';

/** How this run of the program is meant to be; told by the test. */
export interface StandInSettings {
  readonly root: string;
  readonly appData: string;
  readonly version: string;
  readonly isPackaged: boolean;
  readonly resources: string;
  /** Of Linux: `none`, `basic_text` or the name of a real one. */
  readonly keyStore: string;
}

export const settings: StandInSettings = JSON.parse(process.env['HEARTH_STAND_IN'] ?? '{}');

export const appState = {
  isReady: false,
  isSandboxed: false,
  emitApp: (_name: string, ..._args: unknown[]): boolean => false,
};

export const ready: Promise<void> = new Promise((resolve) => {
  setImmediate(() => {
    appState.isReady = true;
    appState.emitApp('ready');
    resolve();
  });
});

export function requireReady(what: string): void {
  if (!appState.isReady) throw new Error(`${what} can only be used after the app is ready`);
}

export interface Event {
  readonly [name: string]: unknown;
}

/** An event as Electron hands it out, which a listener may prevent. */
export function preventable(content: Event = {}): Event & { defaultPrevented: boolean; preventDefault(): void } {
  const event = {
    ...content,
    defaultPrevented: false,
    preventDefault: () => {
      event.defaultPrevented = true;
    },
  };
  return event;
}
