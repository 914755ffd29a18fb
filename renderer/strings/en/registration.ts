/** Who may come. */
export const registration = {
  'registration.title': 'Registration',
  'registration.lead': 'Who may make an account on this server.',
  'registration.mode': 'Who may come',
  'registration.closed': 'Nobody by themselves',
  'registration.closed-text':
    'You invite people with a link. Apps cannot make accounts. The safest, and enough for a household.',
  'registration.invitation': 'Whoever has an invitation',
  'registration.invitation-text':
    'Apps offer to make an account, and ask for the token of an invitation. Without one nobody gets in.',
  'registration.open': 'Everybody',
  'registration.open-text':
    'Anyone who finds the address makes an account. Only for servers that somebody watches all day.',
  'registration.open-warning': 'Open to everybody is dangerous here',
  'registration.open-title': 'Open the server to everybody?',
  'registration.open-action': 'Open to everybody',
  'registration.open-is': 'Anybody can make an account here',
  'registration.saved': 'Who may come has been changed.',
  'registration.saved-now': 'Who may come has been changed, as of now.',
  'registration.when': 'Letting fewer people in counts at once, letting more in after a restart.',
  'registration.until': 'This counts after a restart',
  'registration.until-text': 'Until then this holds: {mode}.',
  'registration.tokens': 'Invitations',
  'registration.tokens-lead':
    'Links and tokens that let somebody in, whatever is chosen above. Those that are used or expired leave the list after 30 days.',
} as const;
