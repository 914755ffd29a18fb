/** Getting in. */
export const signIn = {
  'sign-in.title': 'Open Hearth',
  'sign-in.lead': 'Sign in with the account that runs this server.',
  'sign-in.username': 'Username',
  'sign-in.password': 'Password',
  'sign-in.do': 'Sign in',
  'sign-in.ended': 'Your session is over, because Hearth was started anew or was not used for long. Sign in again.',
  'sign-in.link-hint-title': 'No account yet?',
  'sign-in.link-hint': 'Use the link that Hearth printed when it was started. It works once, on this machine.',
  'link.failed-title': 'This link does not open Hearth',
  'link.sign-in': 'Sign in instead',
} as const;
