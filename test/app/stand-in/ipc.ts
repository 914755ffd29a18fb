import { EventEmitter } from 'node:events';

type Handler = (event: unknown, ...args: unknown[]) => unknown;

/** A page, as far as messages are concerned. */
export interface Sender {
  readonly contents: unknown;
  readonly frame: { readonly url: string; readonly parent: null };
}

class IpcMain extends EventEmitter {
  readonly handlers = new Map<string, Handler>();

  handle(channel: string, handler: Handler): void {
    if (this.handlers.has(channel)) throw new Error(`Attempted to register a second handler for '${channel}'`);
    this.handlers.set(channel, handler);
  }
}
export const ipcMain = new IpcMain();

/** What a preload script gets as `require('electron')`, and how the page's end of it is reached. */
export function createRenderer(sender: () => Sender): {
  readonly electron: { contextBridge: unknown; ipcRenderer: unknown };
  readonly world: Record<string, unknown>;
  readonly receive: (channel: string, ...args: unknown[]) => void;
} {
  const world: Record<string, unknown> = {};
  const incoming = new EventEmitter();
  const invoke = async (channel: string, ...args: unknown[]): Promise<unknown> => {
    const handler = ipcMain.handlers.get(channel);
    const { contents, frame } = sender();
    try {
      if (handler === undefined) throw new Error(`No handler registered for '${channel}'`);
      const event = { type: 'frame', sender: contents, senderFrame: frame };
      return structuredClone(await handler(event, ...structuredClone(args)));
    } catch (error) {
      throw new Error(`Error invoking remote method '${channel}': ${String(error)}`, { cause: error });
    }
  };
  // Nothing but functions and what can be cloned crosses from one world to the other.
  const exposed =
    (work: (...args: unknown[]) => unknown) =>
    (...args: unknown[]) =>
      work(...args.map((each) => (typeof each === 'function' ? each : structuredClone(each))));
  return {
    world,
    receive: (channel, ...args) => void incoming.emit(channel, {}, ...structuredClone(args)),
    electron: {
      ipcRenderer: {
        invoke,
        on: (channel: string, listener: (...args: unknown[]) => void) => incoming.on(channel, listener),
        off: (channel: string, listener: (...args: unknown[]) => void) => incoming.off(channel, listener),
      },
      contextBridge: {
        exposeInMainWorld: (name: string, api: Record<string, (...args: unknown[]) => unknown>) => {
          world[name] = Object.freeze(
            Object.fromEntries(Object.entries(api).map(([key, work]) => [key, exposed(work)])),
          );
        },
      },
    },
  };
}

// A main process has neither.
export const contextBridge = undefined;
export const ipcRenderer = undefined;
