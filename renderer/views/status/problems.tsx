import type { ReactNode } from 'react';
import type { Problem } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { IconButton, TextLink } from '../../components/button.tsx';
import { useDeed } from '../../components/deed.tsx';
import { NextStep } from '../../components/findings.tsx';
import { Icon } from '../../components/icon.tsx';
import { Card, Details, Loaded } from '../../components/page.tsx';
import { Ago } from '../../components/time.tsx';
import { text } from '../../strings/text.ts';
import { findPage } from '../pages.ts';

/** What went wrong lately, in plain words. */
export function Problems(): ReactNode {
  const read = useCall('GET /problems');
  return (
    <Card title={text('status.problems')}>
      <Loaded read={read} lines={2}>
        {({ problems }) =>
          problems.length === 0 ? (
            <div className="row">
              <Icon name="good" className="tone-good" />
              <p className="grow">
                <strong>{text('status.problems.empty')}.</strong>{' '}
                <span className="muted">{text('status.problems.empty-text')}</span>
              </p>
            </div>
          ) : (
            <ul>
              {problems.map((problem) => (
                <ProblemItem key={problem.id} problem={problem} />
              ))}
            </ul>
          )
        }
      </Loaded>
    </Card>
  );
}

function ProblemItem({ problem }: { problem: Problem }): ReactNode {
  const dismiss = useDeed('POST /problems/{problemId}/dismiss');
  const page = findPage(problem.page);
  return (
    <li className="problem">
      <div>
        <p className="break">
          <strong>{problem.text}</strong>
        </p>
        <p className="muted small">
          <Ago at={problem.at} />
          {problem.count > 1 && <>, {text('problem.count', { count: problem.count })}</>}
        </p>
        {problem.nextStep !== undefined && (
          <NextStep>
            {problem.nextStep}
            {page !== undefined && page.id !== 'status' && (
              <>
                {' '}
                <TextLink href={`#/${page.id}`}>{text('status.see', { page: text(page.title) })}</TextLink>
              </>
            )}
          </NextStep>
        )}
        {problem.detail !== '' && (
          <Details summary={text('problem.raw')}>
            <pre className="log-detail">{problem.detail}</pre>
          </Details>
        )}
      </div>
      <IconButton
        icon="close"
        size="small"
        label={text('problem.dismiss')}
        isDisabled={dismiss.isRunning}
        onPress={() => dismiss.run({ params: { problemId: problem.id } })}
      />
    </li>
  );
}
