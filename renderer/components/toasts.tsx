import { createContext, type ReactNode, useCallback, useContext, useEffect, useRef, useState } from 'react';
import type { Failure } from '../api/api.ts';
import { text } from '../strings/text.ts';
import { IconButton } from './button.tsx';
import { Icon } from './icon.tsx';
import { sayFailure } from './page.tsx';

interface Toast {
  readonly id: number;
  readonly tone: 'good' | 'bad';
  readonly text: string;
}

interface Toaster {
  /** Says in passing that something is done. */
  readonly done: (sentence: string) => void;
  /** Says in passing that something failed. */
  readonly failed: (failure: Failure | string) => void;
}

const ToastContext = createContext<
  { toasts: readonly Toast[]; toaster: Toaster; dismiss: (id: number) => void } | undefined
>(undefined);
const STAYS_MS = { good: 5_000, bad: 10_000 } as const;
const MOST = 4;

export function ToastProvider({ children }: { children: ReactNode }): ReactNode {
  const [toasts, setToasts] = useState<readonly Toast[]>([]);
  const next = useRef(0);
  const dismiss = useCallback((id: number) => setToasts((before) => before.filter((each) => each.id !== id)), []);
  const add = useCallback((tone: Toast['tone'], sentence: string) => {
    next.current += 1;
    setToasts((before) =>
      [...before.filter((each) => each.text !== sentence), { id: next.current, tone, text: sentence }].slice(-MOST),
    );
  }, []);
  const [toaster] = useState<Toaster>(() => ({
    done: (sentence) => add('good', sentence),
    failed: (failure) => add('bad', typeof failure === 'string' ? failure : sayFailure(failure)),
  }));
  return <ToastContext value={{ toasts, toaster, dismiss }}>{children}</ToastContext>;
}

export function useToast(): Toaster {
  const context = useContext(ToastContext);
  if (context === undefined) throw new Error('used outside ToastProvider');
  return context.toaster;
}

/** Where toasts appear. */
export function Toasts(): ReactNode {
  const context = useContext(ToastContext);
  return (
    <div className="toasts" role="status" aria-live="polite">
      {context?.toasts.map((toast) => (
        <ToastCard key={toast.id} toast={toast} onEnd={() => context.dismiss(toast.id)} />
      ))}
    </div>
  );
}

function ToastCard({ toast, onEnd }: { toast: Toast; onEnd: () => void }): ReactNode {
  const [isHeld, setHeld] = useState(false);
  const end = useRef(onEnd);
  useEffect(() => {
    end.current = onEnd;
  });
  useEffect(() => {
    if (isHeld) return;
    const timer = setTimeout(() => end.current(), STAYS_MS[toast.tone]);
    return () => clearTimeout(timer);
  }, [isHeld, toast.tone]);
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
