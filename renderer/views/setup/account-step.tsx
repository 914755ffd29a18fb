import { type ReactNode, useEffect, useState } from 'react';
import type { FieldProblem, Setup, SetupDraft } from '../../../server/appliance/contract.ts';
import { Refusal } from '../../api/api.ts';
import { useAct } from '../../api/calls.ts';
import { useHouse } from '../../api/house.tsx';
import { Button } from '../../components/button.tsx';
import { PasswordField, TextField } from '../../components/fields.tsx';
import { Notice, sayFailure } from '../../components/page.tsx';
import { StrengthMeter } from '../../components/strength-meter.tsx';
import { text } from '../../strings/text.ts';
import { PorchTitle } from '../porch/porch.tsx';
import { StepForm } from './step-form.tsx';

/** Kept while somebody looks at an earlier step. */
export interface AccountAnswers {
  readonly username: string;
  readonly displayName: string;
  readonly password: string;
}

export function AccountStep({
  setup,
  draft,
  answers: { username, displayName, password },
  onChange,
  onBack,
  onDone,
}: {
  setup: Setup;
  draft: SetupDraft;
  answers: AccountAnswers;
  onChange: (answers: AccountAnswers) => void;
  onBack: () => void;
  onDone: () => void;
}): ReactNode {
  const answer = (changed: Partial<AccountAnswers>): void => onChange({ username, displayName, password, ...changed });
  const problems = useAccountCheck(username, password);
  const finish = useAct('POST /setup/finish');
  const { failure } = finish;
  const faultAt = failure instanceof Refusal ? failure.field : undefined;
  const problemOf = (field: string): string | undefined =>
    faultAt === field && failure !== undefined
      ? sayFailure(failure)
      : problems.find((problem) => problem.field === field)?.message;
  const isReady = username !== '' && password !== '' && problems.length === 0;
  const submit = async (): Promise<void> => {
    if (!isReady) return;
    const name = displayName.trim();
    const done = await finish.run({ body: { username, password, ...(name === '' ? {} : { displayName: name }) } });
    if (done === undefined) return;
    onDone();
  };
  return (
    <>
      <PorchTitle title={text('setup.account.title')} lead={text('setup.account.lead')} />
      <StepForm
        onSubmit={submit}
        foot={
          <>
            <Button kind="quiet" size="large" icon="arrow-left" isDisabled={finish.isRunning} onPress={onBack}>
              {text('common.back')}
            </Button>
            <Button type="submit" kind="primary" size="large" isBusy={finish.isRunning} isDisabled={!isReady}>
              {text(finish.isRunning ? 'setup.account.finishing' : 'setup.account.finish')}
            </Button>
          </>
        }
      >
        {failure !== undefined && faultAt !== 'username' && faultAt !== 'password' && (
          <Notice
            tone="bad"
            isLive
            actions={
              faultAt !== undefined && (
                <Button size="small" icon="arrow-left" onPress={onBack}>
                  {text('setup.account.to-name')}
                </Button>
              )
            }
          >
            {sayFailure(failure)}
          </Notice>
        )}
        <TextField
          label={text('setup.account.username')}
          help={setup.usernameRules}
          value={username}
          onChange={(value) => {
            answer({ username: value.trim().toLowerCase() });
            if (faultAt !== undefined) finish.reset();
          }}
          problem={problemOf('username')}
          autoComplete="username"
          isCode
          isRequired
          autoFocus
        />
        <p className="preview-id" aria-live="polite">
          <span className="muted">{text('setup.account.id')}</span>{' '}
          <strong className="mono">{`@${username === '' ? text('setup.name.you') : username}:${draft.serverName}`}</strong>
        </p>
        <TextField
          label={text('setup.account.display-name')}
          help={text('setup.account.display-name-help')}
          value={displayName}
          onChange={(value) => answer({ displayName: value })}
          autoComplete="name"
        />
        <div className="stack tight">
          <PasswordField
            label={text('setup.account.password')}
            help={text('setup.account.password-help')}
            value={password}
            onChange={(value) => {
              answer({ password: value });
              if (faultAt !== undefined) finish.reset();
            }}
            problem={problemOf('password')}
            autoComplete="new-password"
            isRequired
          />
          <StrengthMeter password={password} own={[username, displayName, draft.serverName]} />
        </div>
      </StepForm>
    </>
  );
}

const REST_MS = 350;

/** What the server has against the account, once nobody has typed for a moment. */
function useAccountCheck(username: string, password: string): readonly FieldProblem[] {
  const { api } = useHouse();
  const [problems, setProblems] = useState<readonly FieldProblem[]>([]);
  useEffect(() => {
    setProblems([]);
    if (username === '') return;
    let isOld = false;
    const timer = setTimeout(() => {
      const body = password === '' ? { username } : { username, password };
      api.call('POST /setup/check-account', { body }).then(
        (answer) => {
          if (!isOld) setProblems(answer.problems);
        },
        // The last step asks again, and says what is wrong then.
        () => undefined,
      );
    }, REST_MS);
    return () => {
      isOld = true;
      clearTimeout(timer);
    };
  }, [api, username, password]);
  return problems;
}
