import { useEffect, useState } from 'react';
import type { BodyOf, Finding, NameCheck } from '../../../server/appliance/contract.ts';
import { type Failure, Refusal, Unreachable } from '../../api/api.ts';
import { useHouse } from '../../api/house.tsx';

/** How long (ms) nothing is typed before the name is looked at. */
const REST_MS = 350;

interface NameCheckState {
  readonly isChecking: boolean;
  readonly verdict?: NameCheck['verdict'];
  readonly findings?: readonly Finding[];
  readonly failure?: Failure;
}

/** What the server thinks of a name, once nobody has typed for a moment. Answers to what has been typed over are dropped. */
export function useNameCheck(question: BodyOf<'POST /setup/check-name'> | undefined): NameCheckState {
  const { api } = useHouse();
  const [state, setState] = useState<NameCheckState>({ isChecking: false });
  const { reach, serverName } = question ?? {};
  useEffect(() => {
    if (reach === undefined || serverName === undefined || serverName === '') {
      setState({ isChecking: false });
      return;
    }
    let isOld = false;
    setState({ isChecking: true });
    const timer = setTimeout(() => {
      api.call('POST /setup/check-name', { body: { reach, serverName } }).then(
        ({ verdict, findings }) => {
          if (!isOld) setState({ isChecking: false, verdict, findings });
        },
        (error: unknown) => {
          if (isOld) return;
          if (!(error instanceof Refusal || error instanceof Unreachable)) throw error;
          setState({ isChecking: false, failure: error });
        },
      );
    }, REST_MS);
    return () => {
      isOld = true;
      clearTimeout(timer);
    };
  }, [api, reach, serverName]);
  return state;
}
