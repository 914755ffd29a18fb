import { common } from './en/common.ts';
import { frame } from './en/frame.ts';
import { reach } from './en/reach.ts';
import { setup } from './en/setup.ts';
import { signIn } from './en/sign-in.ts';
import { status } from './en/status.ts';
import { about } from './en/about.ts';
import { backups } from './en/backups.ts';
import { calls } from './en/calls.ts';
import { logs } from './en/logs.ts';
import { media } from './en/media.ts';
import { invitations, people, strangers } from './en/people.ts';
import { registration } from './en/registration.ts';
import { rooms } from './en/rooms.ts';
import { settings } from './en/settings.ts';
import { shared } from './en/shared.ts';

/** Every text of the interface in English: the catalogue that others are translated from, by areas of the interface. */
export const en = {
  ...common,
  ...frame,
  ...signIn,
  ...setup,
  ...status,
  ...reach,
  ...shared,
  ...people,
  ...invitations,
  ...strangers,
  ...rooms,
  ...media,
  ...registration,
  ...calls,
  ...backups,
  ...settings,
  ...logs,
  ...about,
} as const;
