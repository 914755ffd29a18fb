import { type ReactNode, useState } from 'react';
import { useCall } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { Dialog } from '../../components/dialog.tsx';
import { Loaded } from '../../components/page.tsx';
import { text } from '../../strings/text.ts';
import { ConnectGuide } from './connect-guide.tsx';

/** Opens what one has to know to sign in with an app. */
export function ConnectButton({ kind = 'secondary' }: { kind?: 'primary' | 'secondary' }): ReactNode {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <Button kind={kind} icon="device" onPress={() => setOpen(true)}>
        {text('connect.title')}
      </Button>
      {isOpen && <ConnectDialog onClose={() => setOpen(false)} />}
    </>
  );
}

function ConnectDialog({ onClose }: { onClose: () => void }): ReactNode {
  const read = useCall('GET /connect');
  return (
    <Dialog
      title={text('connect.title')}
      isOpen
      isWide
      onClose={onClose}
      actions={<Button onPress={onClose}>{text('common.close')}</Button>}
    >
      <Loaded read={read} lines={6}>
        {(connect) => <ConnectGuide connect={connect} />}
      </Loaded>
    </Dialog>
  );
}
