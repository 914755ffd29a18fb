import { keepPreviousData, useMutation, useQuery, useQueryClient, type UseQueryResult } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from 'react';
import type { AnswerOf, CallName, Job } from '../../server/appliance/contract.ts';
import { type Failure, type InputArgs, type InputOf, Refusal } from './api.ts';
import { joinJobs } from '../models/jobs.ts';
import type { Tells } from '../models/watched-jobs.ts';
import { useHouse } from './house.tsx';
import { areaOf, type ReadName } from './topics.ts';

export interface ReadOptions {
  /** Nothing is read while this is false. */
  readonly enabled?: boolean;
  /** Read anew this often (ms) besides when something is told to have moved. */
  readonly everyMs?: number;
  /** Show the former answer until the one to a changed input is there. */
  readonly keepsFormer?: boolean;
}

type ReadArgs<C extends ReadName> =
  object extends InputOf<C>
    ? [input?: InputOf<C> | undefined, options?: ReadOptions]
    : [input: InputOf<C>, options?: ReadOptions];

export type Read<T> = UseQueryResult<T, Failure>;

/** Reads something of the control API, and again whenever it has moved. */
export function useCall<C extends ReadName>(name: C, ...[input, options]: ReadArgs<C>): Read<AnswerOf<C>> {
  const { api } = useHouse();
  return useQuery<AnswerOf<C>, Failure>({
    queryKey: [name, input?.params ?? null, input?.query ?? null],
    queryFn: () => api.call(name, ...([input] as InputArgs<C>)),
    ...(options?.enabled === undefined ? {} : { enabled: options.enabled }),
    ...(options?.everyMs === undefined ? {} : { refetchInterval: options.everyMs }),
    ...(options?.keepsFormer === true ? { placeholderData: keepPreviousData } : {}),
  });
}

export interface Act<C extends CallName> {
  /** Resolves with undefined where it failed; `failure` tells why. */
  readonly run: (...args: InputArgs<C>) => Promise<AnswerOf<C> | undefined>;
  readonly isRunning: boolean;
  readonly failure: Failure | undefined;
  readonly answer: AnswerOf<C> | undefined;
  /** Forgets how it went. */
  readonly reset: () => void;
}

/** Does something by the control API; what is shown of the same area is read anew afterwards. */
export function useAct<C extends CallName>(name: C): Act<C> {
  const { api } = useHouse();
  const queries = useQueryClient();
  const { mutateAsync, isPending, error, data, reset } = useMutation<AnswerOf<C>, Failure, InputArgs<C>>({
    mutationFn: (args) => api.call(name, ...args),
    onSuccess: () =>
      queries.invalidateQueries({
        predicate: ({ queryKey }) => [areaOf(name), 'status'].includes(areaOf(String(queryKey[0]))),
      }),
  });
  const underWay = useRef(new Map<string, Promise<AnswerOf<C> | undefined>>());
  const run = useCallback(
    (...args: InputArgs<C>) => {
      // Pressed twice, it is meant once, though a time within may have moved on.
      const what = JSON.stringify(args[0]?.params ?? null);
      const begun = underWay.current.get(what);
      if (begun !== undefined) return begun;
      const run = mutateAsync(args)
        // Told by `failure`.
        .catch(() => undefined)
        .finally(() => underWay.current.delete(what));
      underWay.current.set(what, run);
      return run;
    },
    [mutateAsync],
  );
  // That the session is over is said by the page that begins a new one.
  const isSessionOver = error instanceof Refusal && error.status === 401;
  return { run, isRunning: isPending, failure: isSessionOver ? undefined : (error ?? undefined), answer: data, reset };
}

/** All long work, the latest first. */
export function useJobs(): readonly Job[] {
  const { told } = useHouse();
  const latest = useSyncExternalStore(told.subscribe, told.get);
  const read = useCall('GET /jobs').data?.jobs ?? NONE;
  return useMemo(() => joinJobs(read, latest), [read, latest]);
}
const NONE: readonly Job[] = [];

/** How a piece of long work goes. */
export function useJob(jobId: string | undefined): Job | undefined {
  const jobs = useJobs();
  return jobId === undefined ? undefined : jobs.find(({ id }) => id === jobId);
}

/** Calls `onEnd` for every job that ends while the component is shown. */
export function useJobEndings(onEnd: (job: Job) => void): void {
  const { endings } = useHouse();
  const latest = useRef(onEnd);
  useEffect(() => {
    latest.current = onEnd;
  });
  useEffect(() => {
    const listener = (job: Job): void => latest.current(job);
    endings.add(listener);
    return () => void endings.delete(listener);
  }, [endings]);
}

/** Says that what becomes of a job is told where this component is shown. */
export function useWatch(jobId: string | undefined, tells: Tells): void {
  const { watched } = useHouse();
  useEffect(() => (jobId === undefined ? undefined : watched.watch(jobId, tells)), [watched, jobId, tells]);
}

/** Whether what became of a job is told where it was begun. */
export function useIsTold(): (job: Job) => boolean {
  const { watched } = useHouse();
  return (job) => watched.tellsOf(job);
}
