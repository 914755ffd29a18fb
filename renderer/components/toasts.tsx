import {
  createContext,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react';
import type { Failure } from '../api/api.ts';
import { text } from '../strings/text.ts';
import { IconButton } from './button.tsx';
import { Icon } from './icon.tsx';
import { sayFailure } from './page.tsx';

interface Toast {
  readonly id: number;
  readonly tone: 'good' | 'bad';
  readonly text: string;
  readonly passes: boolean;
}

interface Toaster {
  /** Says in passing that something is done. */
  readonly done: (sentence: string) => void;
  /** Says that something failed, until it has been read; or in passing, where it is said elsewhere too. */
  readonly failed: (failure: Failure | string, how?: 'stays' | 'passes') => void;
}

const ToastContext = createContext<
  { toasts: readonly Toast[]; toaster: Toaster; dismiss: (id: number) => void } | undefined
>(undefined);
/** How long those stay that pass. Others stay until they have been read: nobody knows how long that takes. */
const STAYS_MS = { good: 6_000, bad: 12_000 } as const;
const MOST = 4;

export function ToastProvider({ children }: { children: ReactNode }): ReactNode {
  const [toasts, setToasts] = useState<readonly Toast[]>([]);
  const next = useRef(0);
  const dismiss = useCallback((id: number) => setToasts((before) => before.filter((each) => each.id !== id)), []);
  const add = useCallback((tone: Toast['tone'], sentence: string, passes: boolean) => {
    next.current += 1;
    setToasts((before) =>
      [...before.filter((each) => each.text !== sentence), { id: next.current, tone, text: sentence, passes }].slice(
        -MOST,
      ),
    );
  }, []);
  const [toaster] = useState<Toaster>(() => ({
    done: (sentence) => add('good', sentence, true),
    failed: (failure, how = 'stays') =>
      add('bad', typeof failure === 'string' ? failure : sayFailure(failure), how === 'passes'),
  }));
  return <ToastContext value={{ toasts, toaster, dismiss }}>{children}</ToastContext>;
}

export function useToast(): Toaster {
  const context = useContext(ToastContext);
  if (context === undefined) throw new Error('used outside ToastProvider');
  return context.toaster;
}

function watchSight(watcher: () => void): () => void {
  document.addEventListener('visibilitychange', watcher);
  return () => document.removeEventListener('visibilitychange', watcher);
}

/** Where toasts appear: above dialogs too, which would otherwise keep them from being read out and dismissed. */
export function Toasts(): ReactNode {
  const context = useContext(ToastContext);
  return (
    <div className="toasts" role="status" aria-live="polite" data-react-aria-top-layer>
      {context?.toasts.map((toast) => (
        <ToastCard key={toast.id} toast={toast} onEnd={() => context.dismiss(toast.id)} />
      ))}
    </div>
  );
}

function ToastCard({ toast, onEnd }: { toast: Toast; onEnd: () => void }): ReactNode {
  const [isHeld, setHeld] = useState(false);
  const isAway = useSyncExternalStore(watchSight, () => document.hidden);
  const end = useRef(onEnd);
  useEffect(() => {
    end.current = onEnd;
  });
  useEffect(() => {
    if (isHeld || isAway || !toast.passes) return;
    const timer = setTimeout(() => end.current(), STAYS_MS[toast.tone]);
    return () => clearTimeout(timer);
  }, [isHeld, isAway, toast.tone, toast.passes]);
  return (
    <div
      className="toast"
      onPointerEnter={() => setHeld(true)}
      onPointerLeave={() => setHeld(false)}
      onFocus={() => setHeld(true)}
      onBlur={() => setHeld(false)}
    >
      <Icon name={toast.tone === 'good' ? 'good' : 'bad'} className={`tone-${toast.tone}`} />
      <p>{toast.text}</p>
      <IconButton icon="close" size="small" label={text('common.dismiss')} onPress={onEnd} />
    </div>
  );
}
