import { type ReactNode, useEffect, useRef, useState } from 'react';
import { useLocation } from 'wouter';
import { Refusal, Unreachable } from '../../api/api.ts';
import { useSession } from '../../api/house.tsx';
import { ButtonLink } from '../../components/button.tsx';
import { Icon } from '../../components/icon.tsx';
import { sayFailure } from '../../components/page.tsx';
import { text } from '../../strings/text.ts';
import { Opening, Porch, PorchTitle } from '../porch/porch.tsx';

/** Uses up the link that was opened, and forgets its secret. */
export function LinkPage({ secret }: { secret: string }): ReactNode {
  const { begin } = useSession();
  const [, go] = useLocation();
  const [problem, setProblem] = useState<string>();
  const tried = useRef(false);
  useEffect(() => {
    // It is good once: not to be used up by an effect that runs twice.
    if (tried.current) return;
    tried.current = true;
    begin({ link: secret }).then(
      () => go('/', { replace: true }),
      (error: unknown) =>
        setProblem(error instanceof Refusal || error instanceof Unreachable ? sayFailure(error) : String(error)),
    );
  }, [secret, begin, go]);
  if (problem === undefined) return <Opening />;
  return (
    <Porch size="centred">
      <div className="blank" role="alert">
        <Icon name="key" />
        <PorchTitle title={text('link.failed-title')} />
        <p>{problem}</p>
        <ButtonLink kind="primary" href="#/">
          {text('link.sign-in')}
        </ButtonLink>
      </div>
    </Porch>
  );
}
