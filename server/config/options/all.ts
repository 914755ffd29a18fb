import { federationOptions } from './federation.ts';
import { foreignOptions } from './foreign.ts';
import { mediaOptions } from './media.ts';
import { operationOptions } from './operations.ts';
import { rateLimitOptionTable } from './rate-limits.ts';
import { registrationOptions, sessionOptions } from './registration.ts';
import { roomOptions } from './rooms.ts';
import { serverOptions } from './server.ts';
import { serviceOptions } from './services.ts';
import { signOnOptions } from './sign-on.ts';
import { userOptions } from './users.ts';
import type { Options, Values } from '../option.ts';

/** The options whose values are used, by the headings of a settings page. */
export const optionSections = {
  server: serverOptions,
  rooms: roomOptions,
  registration: registrationOptions,
  sessions: sessionOptions,
  users: userOptions,
  rateLimits: rateLimitOptionTable,
  media: mediaOptions,
  federation: federationOptions,
  services: serviceOptions,
  signOn: signOnOptions,
  operations: operationOptions,
};

const usedOptions = {
  ...serverOptions,
  ...roomOptions,
  ...registrationOptions,
  ...sessionOptions,
  ...userOptions,
  ...rateLimitOptionTable,
  ...mediaOptions,
  ...federationOptions,
  ...serviceOptions,
  ...signOnOptions,
  ...operationOptions,
};

/** What a configuration says, option by option, under the names they have there. */
export type OptionValues = Values<typeof usedOptions>;

/** Every option there is. */
export const allOptions: typeof usedOptions & Options = { ...foreignOptions, ...usedOptions };
