import type * as Electron from 'electron';
import { appState, requireReady } from './world.ts';

type PageHandler = (request: Request) => Promise<Response> | Response;

const privileged = new Map<string, Electron.Privileges>();
const handlers = new Map<string, PageHandler>();

export const protocol = {
  registerSchemesAsPrivileged: (schemes: readonly Electron.CustomScheme[]): void => {
    if (appState.isReady) throw new Error('protocol.registerSchemesAsPrivileged should be called before app is ready');
    for (const { scheme, privileges } of schemes) privileged.set(scheme, privileges ?? {});
  },
  handle: (scheme: string, handler: PageHandler): void => {
    requireReady('protocol');
    if (handlers.has(scheme)) throw new Error(`Failed to register protocol: ${scheme}`);
    handlers.set(scheme, handler);
  },
};

/** A page's request to an address of a scheme that the program serves. */
export async function answerPage(request: Request): Promise<Response> {
  const scheme = new URL(request.url).protocol.slice(0, -1);
  const handler = handlers.get(scheme);
  if (handler === undefined) throw new TypeError(`net::ERR_UNKNOWN_URL_SCHEME (${request.url})`);
  if (privileged.get(scheme)?.supportFetchAPI !== true)
    throw new TypeError('Failed to fetch: the scheme is not for it');
  return handler(request);
}

type RequestHandler = Parameters<Electron.Session['setPermissionRequestHandler']>[0];
type CheckHandler = Parameters<Electron.Session['setPermissionCheckHandler']>[0];

class SessionStandIn {
  requestHandler: RequestHandler = null;
  checkHandler: CheckHandler = null;
  deviceHandler: unknown = null;
  setPermissionRequestHandler(handler: RequestHandler): void {
    this.requestHandler = handler;
  }
  setPermissionCheckHandler(handler: CheckHandler): void {
    this.checkHandler = handler;
  }
  setDevicePermissionHandler(handler: unknown): void {
    this.deviceHandler = handler;
  }
}

const partitions = new Map<string, SessionStandIn>();
const defaultSession = new SessionStandIn();
export const session = {
  get defaultSession(): SessionStandIn {
    requireReady('session');
    return defaultSession;
  },
  fromPartition: (name: string): SessionStandIn => {
    const found = partitions.get(name) ?? new SessionStandIn();
    partitions.set(name, found);
    return found;
  },
};
