import type { ClientSteps } from '../contract.ts';

/** What to do in each client to sign in for the first time. */
export function clientSteps({
  serverName,
  userId,
  clientUrl,
}: {
  readonly serverName: string;
  readonly userId: string;
  readonly clientUrl: string;
}): ClientSteps[] {
  const isSecure = clientUrl.startsWith('https:');
  // Where apps can look the address up by the name, the name is all that has to be typed.
  const address = isSecure && URL.parse(clientUrl)?.host === serverName ? serverName : clientUrl;
  const name = userId.slice(1).split(':')[0] ?? userId;
  const signIn = `Sign in as ${name} with your password.`;
  const needsSecure = isSecure
    ? []
    : [
        `This app only takes addresses that begin with https://, and this server is at ${clientUrl}. Use FluffyChat or Nheko at home, or give the server a certificate.`,
      ];
  return [
    {
      name: 'Element X',
      platforms: ['iPhone', 'Android'],
      steps: [
        ...needsSecure,
        'Install Element X from the store of your phone and open it.',
        'Choose "Sign in manually", then "Change account provider", then "Other".',
        `Type ${address} and choose it.`,
        signIn,
      ],
      ...(isSecure
        ? {
            link: `https://mobile.element.io/element/?account_provider=${encodeURIComponent(address)}&login_hint=${encodeURIComponent(`mxid:${userId}`)}`,
          }
        : {}),
    },
    {
      name: 'Element Web',
      platforms: ['Browser', 'Windows', 'macOS', 'Linux'],
      steps: [
        ...needsSecure,
        'Open app.element.io in a browser, or install Element on your computer.',
        'Choose "Sign in", then "Edit" beside the homeserver, then "Other homeserver".',
        `Type ${address} and choose "Continue".`,
        signIn,
      ],
      ...(isSecure ? { link: 'https://app.element.io/#/login' } : {}),
    },
    {
      name: 'Nheko',
      platforms: ['Windows', 'macOS', 'Linux'],
      steps: [
        'Install Nheko and open it.',
        `Choose "Login" and type ${userId} as Matrix ID.`,
        `Where it asks for the homeserver address, type ${clientUrl}.`,
        'Type your password and choose "Login".',
      ],
    },
    {
      name: 'FluffyChat',
      platforms: ['iPhone', 'Android', 'Linux', 'Browser'],
      steps: [
        'Install FluffyChat and open it.',
        `Where it asks for a homeserver, type ${address}.`,
        'Choose to sign in with a password.',
        signIn,
      ],
    },
  ];
}
