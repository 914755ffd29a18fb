import type { ClientSteps } from '../contract.ts';

/** What to do in each client to sign in. `userId`: for one person; without it, for anybody who has an account. */
export function clientSteps({
  serverName,
  userId,
  clientUrl,
}: {
  readonly serverName: string;
  readonly userId?: string | undefined;
  readonly clientUrl: string;
}): ClientSteps[] {
  const isSecure = clientUrl.startsWith('https:');
  // Where apps can look the address up by the name, the name is all that has to be typed.
  const address = isSecure && URL.parse(clientUrl)?.host === serverName ? serverName : clientUrl;
  const name = userId?.slice(1).split(':')[0];
  const signIn =
    name === undefined ? 'Sign in with your username and password.' : `Sign in as ${name} with your password.`;
  return [
    {
      name: 'Element X',
      platforms: ['iPhone', 'Android'],
      ...(isSecure ? elementX(address, userId, signIn) : { steps: [`${ELEMENT_X} ${insecure(clientUrl)}`] }),
    },
    {
      name: 'Element Web',
      platforms: ['Browser', ...(isSecure ? ['Windows', 'macOS', 'Linux'] : [])],
      ...(isSecure ? elementWeb(address, signIn) : { steps: [`${ELEMENT_WEB} ${insecure(clientUrl)}`] }),
    },
    {
      name: 'Nheko',
      platforms: ['Windows', 'macOS', 'Linux'],
      steps: [
        'Install Nheko and open it.',
        `Choose "Login" and type ${userId ?? `your whole Matrix ID, such as @you:${serverName},`} as Matrix ID.`,
        `Where it asks for the homeserver address, type ${clientUrl}.`,
        'Type your password and choose "Login".',
      ],
    },
    {
      name: 'FluffyChat',
      // In a browser, the same holds for it as for Element.
      platforms: ['iPhone', 'Android', 'Linux', ...(isSecure ? ['Browser'] : [])],
      steps: [
        'Install FluffyChat and open it.',
        `Where it asks for a homeserver, type ${address}${isSecure ? '' : ' (with http:// and all)'}.`,
        ...(isSecure ? [] : ['If an iPhone asks whether the app may find devices in your local network, allow it.']),
        'Choose to sign in with a password.',
        signIn,
      ],
    },
  ];
}

const ELEMENT_X =
  'Element X counts on a server with a certificate. Without one it refuses addresses of numbers on Android, and nobody promises that it works on an iPhone.';
const ELEMENT_WEB =
  'app.element.io comes to your browser by https://, and browsers keep such a page from talking to an address without it.';

function insecure(clientUrl: string): string {
  return `This server is at ${clientUrl}: use FluffyChat or Nheko at home, or give it a domain and a certificate (see Reach).`;
}

function elementX(
  address: string,
  userId: string | undefined,
  signIn: string,
): Pick<ClientSteps, 'steps'> & { link: string } {
  const hint = userId === undefined ? '' : `&login_hint=${encodeURIComponent(`mxid:${userId}`)}`;
  return {
    steps: [
      'Install Element X from the store of your phone and open it.',
      'Choose "Sign in manually", then "Change account provider", then "Other".',
      `Type ${address} and choose it.`,
      signIn,
    ],
    link: `https://mobile.element.io/element/?account_provider=${encodeURIComponent(address)}${hint}`,
  };
}

function elementWeb(address: string, signIn: string): Pick<ClientSteps, 'steps'> & { link: string } {
  return {
    steps: [
      'Open app.element.io in a browser, or install Element on your computer.',
      'Choose "Sign in", then "Edit" beside the homeserver, then "Other homeserver".',
      `Type ${address} and choose "Continue".`,
      signIn,
    ],
    link: 'https://app.element.io/#/login',
  };
}
