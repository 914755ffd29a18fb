import { type ReactNode, useState } from 'react';
import { useLocation } from 'wouter';
import { Button } from '../../components/button.tsx';
import { Card, Page } from '../../components/page.tsx';
import { text } from '../../strings/text.ts';
import { PeopleNav } from '../people/people-nav.tsx';
import { InvitationList } from './invitation-list.tsx';
import { NewInvitation } from './new-invitation.tsx';

/** Links by which people come to this server. */
export function InvitationsPage(): ReactNode {
  const [location] = useLocation();
  const [isMaking, setMaking] = useState(location.endsWith('/new'));
  return (
    <Page
      title={text('invitations.title')}
      lead={text('invitations.lead')}
      actions={
        <Button kind="primary" icon="plus" onPress={() => setMaking(true)}>
          {text('invitations.new')}
        </Button>
      }
    >
      <PeopleNav current="invitations" />
      <Card>
        <InvitationList onNew={() => setMaking(true)} />
      </Card>
      {isMaking && <NewInvitation onClose={() => setMaking(false)} />}
    </Page>
  );
}
