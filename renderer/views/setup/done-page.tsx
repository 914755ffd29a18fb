import { type ReactNode, useEffect } from 'react';
import { Refusal } from '../../api/api.ts';
import { useCall } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { Loaded } from '../../components/page.tsx';
import { text } from '../../strings/text.ts';
import { ConnectGuide } from '../connect/connect-guide.tsx';
import { PorchTitle } from '../porch/porch.tsx';

export function DonePage({ onEnd }: { onEnd: () => void }): ReactNode {
  const read = useCall('GET /connect');
  // Somebody who came here by an old address, before there is a server.
  const isTooEarly = read.error instanceof Refusal && read.error.status === 403;
  useEffect(() => {
    if (isTooEarly) onEnd();
  }, [isTooEarly, onEnd]);
  if (isTooEarly) return null;
  return (
    <>
      <PorchTitle title={text('setup.done.title')} lead={text('setup.done.lead')} />
      <Loaded read={read} lines={8}>
        {(connect) => <ConnectGuide connect={connect} />}
      </Loaded>
      <p className="muted small">{text('setup.done.again')}</p>
      <div className="setup-foot">
        <Button kind="primary" size="large" onPress={onEnd}>
          {text('setup.done.finish')}
        </Button>
      </div>
    </>
  );
}
