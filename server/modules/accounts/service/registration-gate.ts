import type { RegistrationSettings } from './settings.ts';

/** Who may make an account of their own accord, the strictest first. */
export type RegistrationMode = 'closed' | 'invitation' | 'open';

const STRICTEST_FIRST: readonly RegistrationMode[] = ['closed', 'invitation', 'open'];

/**
 * Who may register while the server runs: what it was started with, or less. It can be closed at any moment, since those it is
 * closed against come at any moment; it is opened by a start, which checks that what is configured goes together.
 */
export interface RegistrationGate {
  readonly mode: RegistrationMode;
  /** Takes effect at once, and until the next start. Changes nothing where that would let more people in. */
  tighten(mode: RegistrationMode): void;
}

export function createRegistrationGate({
  enabled,
  requiresToken,
}: Pick<RegistrationSettings, 'enabled' | 'requiresToken'>): RegistrationGate {
  let current: RegistrationMode = !enabled ? 'closed' : requiresToken ? 'invitation' : 'open';
  return {
    get mode() {
      return current;
    },
    tighten: (mode) => {
      if (STRICTEST_FIRST.indexOf(mode) < STRICTEST_FIRST.indexOf(current)) current = mode;
    },
  };
}
