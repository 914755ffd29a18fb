import { call, type ControlCall } from '../control/call.ts';
import { guide } from './delegation.ts';
import type { DelegationFacts } from './facts.ts';

/** `facts` throws a MatrixError where the configuration cannot be used. */
export function delegationCalls({ facts }: { readonly facts: () => DelegationFacts }): ControlCall[] {
  return [call('GET /delegation', { handle: () => guide(facts()) })];
}
