import { isJsonObject } from '../../matrix/json.ts';
import { FederationError } from '../errors.ts';

/** What to do after a transaction did not go through. */
export type Outcome =
  /** Try again later, when is up to how often it failed; or after `waitMs`, where the other server said so. */
  | { readonly kind: 'later'; readonly waitMs?: number }
  /** It does not like what is in it: try with less, until it is found what. */
  | { readonly kind: 'divide' }
  /** It was cut short from here: try at once. */
  | { readonly kind: 'repeat' };

/** Bounds of the wait that another server asks for, ms. */
const SHORTEST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 10 * 60_000;

/** Reads the failure of a transaction. */
export function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof FederationError)) return { kind: 'later' };
  if (error.kind === 'aborted') return { kind: 'repeat' };
  // A forbidden address is waited out as well: behind the portal of some hotel all names lead to one.
  return error.kind === 'refused' ? outcomeOfRefusal(error) : { kind: 'later' };
}

function outcomeOfRefusal({ status = 500, body }: FederationError): Outcome {
  switch (status) {
    case 429: {
      const asked = isJsonObject(body) ? body['retry_after_ms'] : undefined;
      if (typeof asked !== 'number') return { kind: 'later' };
      return { kind: 'later', waitMs: Math.min(LONGEST_WAIT_MS, Math.max(SHORTEST_WAIT_MS, asked)) };
    }
    // It cannot get at our keys, shuts us out, or something stands where it should be: nothing that less would mend.
    case 401:
    case 403:
    case 404:
    case 405:
    case 408:
      return { kind: 'later' };
    default:
      return status >= 400 && status < 500 ? { kind: 'divide' } : { kind: 'later' };
  }
}
