import { useEffect, useRef } from 'react';
import type { CallName } from '../../server/appliance/contract.ts';
import type { Failure } from '../api/api.ts';
import { type Act, useAct } from '../api/calls.ts';
import { useToast } from './toasts.tsx';

/** As useAct, and a failure is said in passing: for what has no form to say it in. */
export function useDeed<C extends CallName>(name: C): Act<C> {
  const act = useAct(name);
  const toast = useToast();
  const told = useRef<Failure>(undefined);
  const { failure } = act;
  useEffect(() => {
    if (failure !== undefined && failure !== told.current) toast.failed(failure);
    told.current = failure;
  }, [failure, toast]);
  return act;
}
