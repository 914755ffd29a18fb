import { Store } from '../models/store.ts';
import { isInShell } from './bridge.ts';

/** Whether the page may call the control API. `ended`: it could once, and cannot any more. */
export type SessionState =
  | { readonly kind: 'open'; readonly token: string | undefined }
  | { readonly kind: 'closed'; readonly ended: boolean };

const KEY = 'hearth.session';

/** The session of this tab, which outlives a reload of the page but not the tab. */
export function openSession(storage: Storage): Store<SessionState> {
  if (isInShell()) return new Store<SessionState>({ kind: 'open', token: undefined });
  const token = storage.getItem(KEY);
  const store = new Store<SessionState>(token === null ? { kind: 'closed', ended: false } : { kind: 'open', token });
  store.subscribe(() => {
    const state = store.get();
    if (state.kind === 'open' && state.token !== undefined) storage.setItem(KEY, state.token);
    else storage.removeItem(KEY);
  });
  return store;
}
