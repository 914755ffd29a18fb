import { isIP } from 'node:net';
import type { Connect, Reach, Reason } from '../contract.ts';
import { clientSteps } from './client-steps.ts';

/** The public page that tells the device it is opened on what to type into an app. */
export const CONNECT_PATH = '/_hearth/connect';

export interface ConnectFacts {
  readonly serverName: string;
  /** The best first. */
  readonly clientUrls: readonly string[];
  /** Of the only person, where there is no other. */
  readonly userId: string | undefined;
  readonly reach: Reach;
  /** Whether apps were seen to get through. */
  readonly isOpen: boolean;
  readonly platform: NodeJS.Platform;
}

/** How a device is connected, and what may be in the way. */
export function connectGuide(facts: ConnectFacts): Connect {
  const { serverName, userId, clientUrls } = facts;
  const [clientUrl = ''] = clientUrls;
  return {
    serverName,
    clientUrl,
    ...(userId === undefined ? {} : { userId }),
    qr: {
      value: `${clientUrl}${CONNECT_PATH}`,
      about:
        'Point the camera of a phone at it: a page of this server opens, with what to type into an app. If it opens, the phone gets here. (The scanner inside of apps is for something else: taking over a sign-in from another device.)',
    },
    notes: facts.reach === 'home' ? homeNotes(facts, clientUrl) : wayNotes(facts, clientUrl),
    clients: clientSteps({ serverName, userId, clientUrl }),
  };
}

function homeNotes({ clientUrls, platform }: ConnectFacts, clientUrl: string): Reason[] {
  const { hostname = '', port = '' } = URL.parse(clientUrl) ?? {};
  if (hostname === 'localhost') {
    return [
      {
        kind: 'alone',
        text: 'This computer is in no network at the moment, so that only apps on it get to this address.',
        nextStep: 'Connect it to your Wi-Fi or router, and open this again.',
      },
    ];
  }
  const others = clientUrls.slice(1).filter((url) => !url.includes('['));
  return [
    {
      kind: 'network',
      text: 'Phones and computers find it while they are in the same network as this computer, and while this computer is on.',
      nextStep: `If a phone does not get here, ${firewall(platform, port)}`,
    },
    ...(isIP(hostname.replace(/^\[|\]$/g, '')) === 0
      ? []
      : [
          {
            kind: 'address',
            text: `Your router gave this computer the address ${hostname}, and may give it another one some day. Apps would have to be told the new one.`,
            nextStep:
              'Have the router always give it this one: a setting often called fixed lease or DHCP reservation.',
          },
        ]),
    ...(others.length === 0
      ? []
      : [
          {
            kind: 'several',
            text: `This computer is in several networks. From another one of them its address is ${others.join(' or ')}.`,
          },
        ]),
  ];
}

function firewall(platform: NodeJS.Platform, port: string): string {
  if (platform === 'win32') {
    return 'allow Hearth in private networks: Windows Security, Firewall, "Allow an app through firewall".';
  }
  if (platform === 'darwin') {
    return 'allow connections to Hearth: System Settings, Network, Firewall, Options.';
  }
  return `allow port ${port} in the firewall of this computer, if it has one (with ufw: sudo ufw allow ${port}/tcp).`;
}

function wayNotes({ reach, isOpen }: ConnectFacts, clientUrl: string): Reason[] {
  if (isOpen) return [];
  const parts =
    reach === 'proxy'
      ? 'the DNS record, and the reverse proxy or tunnel'
      : 'the DNS record, the router, the certificate';
  return [
    {
      kind: 'way',
      text: `Apps get to ${clientUrl} once the way there is in place: ${parts}.`,
      nextStep: 'What to do is shown under Reach, and checked there.',
      page: 'reach',
    },
  ];
}
