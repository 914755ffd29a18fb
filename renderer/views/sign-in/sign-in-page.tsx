import { type ReactNode, useState } from 'react';
import { Form } from 'react-aria-components';
import { Refusal, Unreachable } from '../../api/api.ts';
import { useSession } from '../../api/house.tsx';
import { Button } from '../../components/button.tsx';
import { PasswordField, TextField } from '../../components/fields.tsx';
import { Notice, sayFailure } from '../../components/page.tsx';
import { text } from '../../strings/text.ts';
import { Porch, PorchTitle } from '../porch/porch.tsx';

/** For whoever comes without a link: in with the account that runs the server. */
export function SignInPage(): ReactNode {
  const { state, begin } = useSession();
  const [username, setUsername] = useState('');
  const [password, setPassword] = useState('');
  const [problem, setProblem] = useState<string>();
  const [isBusy, setBusy] = useState(false);
  const submit = async (): Promise<void> => {
    setBusy(true);
    setProblem(undefined);
    try {
      await begin({ username, password });
    } catch (error) {
      if (!(error instanceof Refusal || error instanceof Unreachable)) throw error;
      setProblem(sayFailure(error));
      setBusy(false);
    }
  };
  return (
    <Porch size="narrow">
      <div className="porch-card">
        <PorchTitle title={text('sign-in.title')} lead={text('sign-in.lead')} />
        {state.kind === 'closed' && state.ended && problem === undefined && <Notice>{text('sign-in.ended')}</Notice>}
        {problem !== undefined && (
          <Notice tone="bad" isLive>
            {problem}
          </Notice>
        )}
        <Form
          className="stack"
          onSubmit={(event) => {
            event.preventDefault();
            void submit();
          }}
        >
          <TextField
            label={text('sign-in.username')}
            value={username}
            onChange={setUsername}
            autoComplete="username"
            isCode
            isRequired
            autoFocus
          />
          <PasswordField label={text('sign-in.password')} value={password} onChange={setPassword} isRequired />
          <Button
            type="submit"
            kind="primary"
            size="large"
            isBusy={isBusy}
            isDisabled={username === '' || password === ''}
          >
            {text('sign-in.do')}
          </Button>
        </Form>
        <p className="muted small">
          <strong>{text('sign-in.link-hint-title')}</strong> {text('sign-in.link-hint')}
        </p>
      </div>
    </Porch>
  );
}
