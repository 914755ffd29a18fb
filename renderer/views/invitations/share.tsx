import type { ReactNode } from 'react';
import type { Invitation } from '../../../server/appliance/contract.ts';
import { CopyField, QrCode } from '../../components/copy.tsx';
import { Details, Notice } from '../../components/page.tsx';
import { reachOfLink } from '../../models/link-reach.ts';
import { text } from '../../strings/text.ts';

/** How an invitation gets to whom it is for. */
export function Share({ invitation: { link, token } }: { invitation: Invitation }): ReactNode {
  const reach = reachOfLink(link);
  return (
    <div className="stack">
      <p>{text('invitations.share')}</p>
      <div className="row" style={{ justifyContent: 'center' }}>
        <QrCode label={text('invitations.qr')} value={link} />
      </div>
      {reach !== 'anywhere' && (
        <Notice tone="warning">{text(reach === 'here' ? 'invitations.only-here' : 'invitations.only-home')}</Notice>
      )}
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
