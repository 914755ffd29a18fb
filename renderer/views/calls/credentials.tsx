import type { ReactNode } from 'react';
import { useAct } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { CopyField } from '../../components/copy.tsx';
import { Card, Notice, sayFailure } from '../../components/page.tsx';
import { formatDuration } from '../../models/format.ts';
import { text } from '../../strings/text.ts';

/** Makes a name and password as apps get them. */
export function Credentials(): ReactNode {
  const make = useAct('POST /calls/credentials');
  const { answer, failure } = make;
  return (
    <Card
      title={text('calls.credentials')}
      lead={text('calls.credentials-lead')}
      actions={
        <Button icon="key" isBusy={make.isRunning} onPress={() => make.run()}>
          {text('calls.credentials-make')}
        </Button>
      }
    >
      {failure !== undefined && (
        <Notice tone="bad" isLive>
          {sayFailure(failure)}
        </Notice>
      )}
      {answer !== undefined && (
        <div className="stack" role="status">
          <div className="grid">
            <CopyField label={text('calls.username')} value={answer.username} />
            <CopyField label={text('calls.password')} value={answer.password} />
          </div>
          <p className="muted small">
            {text('calls.credentials-good', { span: formatDuration(answer.ttlSeconds * 1000) })}
          </p>
        </div>
      )}
    </Card>
  );
}
