/** Getting in. */
export const signIn = {
  'sign-in.title': 'Open Hearth',
  'sign-in.lead': 'Sign in with the account that runs this server.',
  'sign-in.username': 'Username',
  'sign-in.password': 'Password',
  'sign-in.do': 'Sign in',
  'sign-in.ended':
    'Your session is over, because Hearth was started anew, was not used for long, or your password was changed. Sign in again.',
  'sign-in.link-hint-title': 'No account yet, or the server does not run?',
  'sign-in.link-hint':
    'Use the link that Hearth printed when it was started; it works once, on this machine, for a day. Starting Hearth once more prints a new one.',
  'link.failed-title': 'This link does not open Hearth',
  'link.sign-in': 'Sign in instead',
} as const;
