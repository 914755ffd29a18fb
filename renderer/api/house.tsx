import { QueryClient, QueryClientProvider, QueryObserver } from '@tanstack/react-query';
import {
  createContext,
  type ReactNode,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react';
import type { Job, ServerSentEvent } from '../../server/appliance/contract.ts';
import { Store } from '../models/store.ts';
import { WatchedJobs } from '../models/watched-jobs.ts';
import { Api, Refusal } from './api.ts';
import { type Connection, followEvents } from './event-stream.ts';
import { openSession, type SessionState } from './session.ts';
import { isAbout } from './topics.ts';

interface House {
  readonly api: Api;
  readonly session: Store<SessionState>;
  readonly connection: Store<Connection>;
  /** Jobs as the event stream told of them last: newer than what was read, where both know one. */
  readonly told: Store<ReadonlyMap<string, Job>>;
  /** Told of every job that has just ended. */
  readonly endings: Set<(job: Job) => void>;
  readonly watched: WatchedJobs;
}

const HouseContext = createContext<House | undefined>(undefined);

/** Connects all that is inside to the control API and keeps it up to date. */
export function HouseProvider({ children }: { children: ReactNode }): ReactNode {
  const [house] = useState(createHouse);
  const [queries] = useState(createQueries);
  const session = useSyncExternalStore(house.session.subscribe, house.session.get);
  const wasClosed = useRef(false);
  useEffect(() => {
    if (session.kind !== 'open') {
      wasClosed.current = true;
      if (session.ended) return hold(queries);
      queries.clear();
      return;
    }
    const end = new AbortController();
    let wasLost = wasClosed.current;
    void followEvents({
      open: (signal) => house.api.events(signal),
      signal: end.signal,
      onConnection: (connection) => {
        house.connection.set(connection);
        if (connection.kind === 'lost') wasLost = true;
        if (connection.kind !== 'open' || !wasLost) return;
        // Whatever moved meanwhile was not told.
        house.told.set(new Map());
        void queries.invalidateQueries();
      },
      onEvent: (event) => take(event, queries, house),
    });
    return () => end.abort();
  }, [house, queries, session]);
  return (
    <HouseContext value={house}>
      <QueryClientProvider client={queries}>{children}</QueryClientProvider>
    </HouseContext>
  );
}

function createHouse(): House {
  const session = openSession(sessionStorage);
  return {
    session,
    api: new Api({ session, send: (path, init) => fetch(path, init) }),
    connection: new Store<Connection>({ kind: 'connecting' }),
    told: new Store<ReadonlyMap<string, Job>>(new Map()),
    endings: new Set(),
    watched: new WatchedJobs(),
  };
}

function createQueries(): QueryClient {
  // This machine answers itself whether or not it has a network.
  return new QueryClient({
    defaultOptions: {
      queries: {
        networkMode: 'always',
        staleTime: 10_000,
        refetchOnWindowFocus: true,
        retry: (failures, error) => error instanceof Refusal && error.status === 503 && failures < 2,
      },
      mutations: { networkMode: 'always', retry: false },
    },
  });
}

/** Keeps what was read, for pages that wait to go on where they were. Ends by the returned function. */
function hold(queries: QueryClient): () => void {
  const ends = queries
    .getQueryCache()
    .getAll()
    .map(({ queryKey }) => new QueryObserver(queries, { queryKey, enabled: false }).subscribe(() => undefined));
  return () => {
    for (const end of ends) end();
  };
}

function take(event: ServerSentEvent, queries: QueryClient, house: House): void {
  if (event.topic !== 'job') {
    const { topic } = event;
    void queries.invalidateQueries({
      predicate: ({ queryKey, state }) =>
        // When the homeserver comes up, what it refused to tell before can be had.
        isAbout(String(queryKey[0]), topic) || (topic === 'status' && state.status === 'error'),
    });
    return;
  }
  const { job } = event;
  house.told.set(new Map(house.told.get()).set(job.id, job));
  if (job.state === 'running') return;
  for (const ending of house.endings) ending(job);
  void queries.invalidateQueries({ predicate: ({ queryKey }) => queryKey[0] !== 'GET /jobs' });
}

/** The control API, as the parts of the page share it. Throws outside HouseProvider. */
export function useHouse(): House {
  const house = useContext(HouseContext);
  if (house === undefined) throw new Error('used outside HouseProvider');
  return house;
}

/** Whether there is a session, and the means to begin and end one. */
export function useSession(): {
  state: SessionState;
  begin: (secret: Key) => Promise<void>;
  end: () => Promise<void>;
} {
  const { api, session } = useHouse();
  const state = useSyncExternalStore(session.subscribe, session.get);
  return useMemo(
    () => ({
      state,
      begin: async (secret) => {
        const { token } = await api.call('POST /session', { body: secret });
        session.set({ kind: 'open', token });
      },
      end: async () => {
        try {
          await api.call('DELETE /session');
        } catch {
          // Out of reach or over already: this tab forgets it all the same.
        }
        session.set({ kind: 'closed', ended: false });
      },
    }),
    [api, session, state],
  );
}
/** What opens a session. */
type Key = { readonly link: string } | { readonly username: string; readonly password: string };

/** How the event stream is. */
export function useConnection(): Connection {
  const { connection } = useHouse();
  return useSyncExternalStore(connection.subscribe, connection.get);
}
