import type { Status } from '../server/appliance/contract.ts';
import type { ServerState, TrayIcon } from './contract.ts';
import { strings } from './strings.ts';

/** What the shell shows of the server where there is room for a picture and a line. */
export interface Face {
  readonly icon: TrayIcon;
  readonly text: string;
  readonly isPaused: boolean;
  /** What clients are given, where that is known. */
  readonly address: string | undefined;
}

const ICONS: Readonly<Record<Status['line'], TrayIcon>> = {
  setup: 'attention',
  starting: 'busy',
  online: 'online',
  'network-only': 'online',
  unreachable: 'attention',
  'catching-up': 'busy',
  paused: 'paused',
  'needs-you': 'attention',
  failed: 'attention',
};

/** The face of a server whose process is so, and who says of itself what `status` says. */
export function faceOf(server: ServerState, status: Status | undefined): Face {
  const bare = { isPaused: false, address: undefined };
  switch (server.kind) {
    case 'starting':
      return { ...bare, icon: 'busy', text: strings.tray.starting };
    case 'restarting':
      return { ...bare, icon: 'busy', text: strings.tray.restarting };
    case 'failed':
      return { ...bare, icon: 'attention', text: strings.tray.serverFailed };
    case 'stopped':
      return { ...bare, icon: 'busy', text: strings.tray.stopped };
    case 'running':
      if (status === undefined) return { ...bare, icon: 'online', text: strings.tray.running };
      return {
        icon: ICONS[status.line],
        text: strings.tray[status.line],
        isPaused: status.line === 'paused',
        address: status.clientUrl,
      };
  }
}
