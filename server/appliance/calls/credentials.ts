import { createHmac } from 'node:crypto';

/** What the configuration says about TURN. */
export interface TurnSettings {
  readonly uris: readonly string[];
  readonly sharedSecret: string | undefined;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly userLifetimeMs: number;
  readonly guestsAllowed: boolean;
}

/** Whom credentials made by hand or for a test are for. */
const WHO = 'hearth-check';

/**
 * A name and a password that the TURN servers take until the lifetime is over ("REST API for access to TURN services", as
 * people of this server are given them), or the ones for all; undefined where neither is set.
 */
export function makeCredentials(
  { sharedSecret, username, password, userLifetimeMs }: TurnSettings,
  now: number,
): { readonly username: string; readonly password: string } | undefined {
  if (sharedSecret !== undefined) {
    const name = `${Math.floor((now + userLifetimeMs) / 1_000)}:${WHO}`;
    return { username: name, password: createHmac('sha1', sharedSecret).update(name).digest('base64') };
  }
  return username === undefined || password === undefined ? undefined : { username, password };
}
