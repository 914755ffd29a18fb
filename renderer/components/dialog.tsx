import { createContext, type ReactNode, useCallback, useContext, useEffect, useState } from 'react';
import { Dialog as AriaDialog, Form, Heading, Modal, ModalOverlay } from 'react-aria-components';
import { useLocation } from 'wouter';
import { withoutMarks } from '../models/locale.ts';
import { text } from '../strings/text.ts';
import { Button } from './button.tsx';
import { TextField } from './fields.tsx';

interface DialogProps {
  readonly title: string;
  readonly isOpen: boolean;
  readonly onClose: () => void;
  readonly isWide?: boolean;
  /** Cannot be left by Escape or a press beside it: something is under way. */
  readonly isBusy?: boolean;
  /** The buttons at its end. */
  readonly actions?: ReactNode;
  /** Makes the dialog a form. */
  readonly onSubmit?: () => unknown;
  readonly children: ReactNode;
}

/** A window over the page, which has the keyboard until it is closed. */
export function Dialog({
  title,
  isOpen,
  onClose,
  isWide = false,
  isBusy = false,
  actions,
  onSubmit,
  children,
}: DialogProps): ReactNode {
  const content = (
    <>
      {children}
      {actions !== undefined && <div className="dialog-foot">{actions}</div>}
    </>
  );
  return (
    <ModalOverlay
      className="overlay"
      isOpen={isOpen}
      isDismissable={!isBusy}
      isKeyboardDismissDisabled={isBusy}
      onOpenChange={(open) => {
        if (!open) onClose();
      }}
    >
      <Modal className={`modal ${isWide ? 'wide' : ''}`}>
        <AriaDialog className="dialog">
          <Heading slot="title" level={2}>
            {title}
          </Heading>
          {onSubmit === undefined ? (
            content
          ) : (
            <Form
              className="stack"
              onSubmit={(event) => {
                event.preventDefault();
                void onSubmit();
              }}
            >
              {content}
            </Form>
          )}
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  );
}

export interface Question {
  readonly title: string;
  readonly text: ReactNode;
  /** What the button that does it says. */
  readonly action: string;
  readonly isDangerous?: boolean;
  /** Has to be typed before it can be done. */
  readonly typed?: string;
}

const AskContext = createContext<((question: Question) => Promise<boolean>) | undefined>(undefined);

export function ConfirmProvider({ children }: { children: ReactNode }): ReactNode {
  const [asked, setAsked] = useState<{ question: Question; answer: (isYes: boolean) => void }>();
  const ask = useCallback((question: Question) => {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    setAsked((before) => {
      // Only one can be asked at a time; what was not answered was not wanted.
      before?.answer(false);
      return { question, answer: resolve };
    });
    return promise;
  }, []);
  const [location] = useLocation();
  useEffect(
    // Whoever goes to another page (by the button back, say) has not said yes to what this one asked.
    () => () =>
      setAsked((before) => {
        before?.answer(false);
        return undefined;
      }),
    [location],
  );
  const answer = (isYes: boolean): void => {
    asked?.answer(isYes);
    setAsked(undefined);
  };
  return (
    <AskContext value={ask}>
      {children}
      {asked !== undefined && <Confirm question={asked.question} onAnswer={answer} />}
    </AskContext>
  );
}

/** Asks before something is done: `if (await confirm({ … })) …`. */
export function useConfirm(): (question: Question) => Promise<boolean> {
  const ask = useContext(AskContext);
  if (ask === undefined) throw new Error('used outside ConfirmProvider');
  return ask;
}

function Confirm({ question, onAnswer }: { question: Question; onAnswer: (isYes: boolean) => void }): ReactNode {
  const { title, action, isDangerous = false, typed } = question;
  const [given, setGiven] = useState('');
  const isReady = typed === undefined || withoutMarks(given).trim() === withoutMarks(typed);
  return (
    <Dialog
      title={title}
      isOpen
      onClose={() => onAnswer(false)}
      onSubmit={() => {
        if (isReady) onAnswer(true);
      }}
      actions={
        <>
          <Button onPress={() => onAnswer(false)} autoFocus={typed === undefined && isDangerous}>
            {text('common.cancel')}
          </Button>
          <Button
            type="submit"
            kind={isDangerous ? 'danger filled' : 'primary'}
            isDisabled={!isReady}
            autoFocus={typed === undefined && !isDangerous}
          >
            {action}
          </Button>
        </>
      }
    >
      <div className="stack">{typeof question.text === 'string' ? <p>{question.text}</p> : question.text}</div>
      {typed !== undefined && (
        <TextField
          label={text('confirm.type', { word: typed })}
          value={given}
          onChange={setGiven}
          isCode
          autoFocus
          autoComplete="off"
        />
      )}
    </Dialog>
  );
}
