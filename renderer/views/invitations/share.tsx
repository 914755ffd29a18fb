import type { ReactNode } from 'react';
import type { Invitation } from '../../../server/appliance/contract.ts';
import { CopyField, QrCode } from '../../components/copy.tsx';
import { Details } from '../../components/page.tsx';
import { text } from '../../strings/text.ts';

/** How an invitation gets to whom it is for. */
export function Share({ invitation: { link, qrSvg, token } }: { invitation: Invitation }): ReactNode {
  return (
    <div className="stack">
      <p>{text('invitations.share')}</p>
      <div className="row" style={{ justifyContent: 'center' }}>
        <QrCode label={text('invitations.qr')} svg={qrSvg} />
      </div>
      <CopyField label={text('invitations.link')} value={link} />
      <Details summary={text('invitations.token')}>
        <div className="stack tight">
          <p className="muted small">{text('invitations.token-help')}</p>
          <CopyField label={text('invitations.token')} value={token} isLabelHidden />
        </div>
      </Details>
    </div>
  );
}
