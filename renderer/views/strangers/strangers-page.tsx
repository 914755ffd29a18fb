import { type ReactNode, useState } from 'react';
import type { StrangerInvite } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { type Column, DataTable } from '../../components/data-table.tsx';
import { useDeed } from '../../components/deed.tsx';
import { useConfirm } from '../../components/dialog.tsx';
import { Card, EmptyState, Loaded, Page } from '../../components/page.tsx';
import { Ago } from '../../components/time.tsx';
import { useToast } from '../../components/toasts.tsx';
import { text } from '../../strings/text.ts';
import { PeopleNav } from '../people/people-nav.tsx';

/** What people on other servers want those here to join. */
export function StrangersPage(): ReactNode {
  const read = useCall('GET /stranger-invites');
  return (
    <Page title={text('strangers.title')} lead={text('strangers.lead')}>
      <PeopleNav current="strangers" />
      <Card>
        <Loaded read={read}>
          {({ invites }) =>
            invites.length === 0 ? (
              <EmptyState icon="mail" title={text('strangers.none')}>
                {text('strangers.none-text')}
              </EmptyState>
            ) : (
              <Table invites={invites} />
            )
          }
        </Loaded>
      </Card>
    </Page>
  );
}

/** Whoever sends spam sends a lot of it. */
const AT_ONCE = 50;

function roomOf({ roomName }: StrangerInvite): string {
  return roomName === undefined || roomName.trim() === '' ? text('strangers.room-unnamed') : roomName;
}

function Table({ invites }: { invites: readonly StrangerInvite[] }): ReactNode {
  const [most, setMost] = useState(AT_ONCE);
  const act = useDeed('POST /stranger-invites/decline');
  const confirm = useConfirm();
  const toast = useToast();
  const decline = async ({ userId, roomId, sender }: StrangerInvite): Promise<void> => {
    const isMeant = await confirm({
      title: text('strangers.decline-title'),
      text: text('strangers.decline-text', { user: userId, sender }),
      action: text('strangers.decline'),
      isDangerous: true,
    });
    if (!isMeant || (await act.run({ body: { userId, roomId } })) === undefined) return;
    toast.done(text('strangers.declined'));
  };
  const columns: readonly Column<StrangerInvite>[] = [
    {
      id: 'room',
      title: text('strangers.room'),
      isLead: true,
      sortBy: roomOf,
      show: (invite) => (
        <span className="who-names">
          <strong className="break">{roomOf(invite)}</strong>
          <code className="muted break">{invite.roomId}</code>
        </span>
      ),
    },
    {
      id: 'from',
      title: text('strangers.from'),
      sortBy: ({ sender }) => sender,
      show: ({ sender, senderName }) => (
        <span className="who-names">
          {senderName !== undefined && <span className="break">{senderName}</span>}
          <span className="muted small break">{sender}</span>
        </span>
      ),
    },
    { id: 'to', title: text('strangers.to'), sortBy: ({ userId }) => userId, show: ({ userId }) => userId },
    {
      id: 'when',
      title: text('strangers.when'),
      isRight: true,
      sortBy: ({ at }) => at,
      show: ({ at }) => <Ago at={at} />,
    },
    {
      id: 'actions',
      title: text('people.actions'),
      isTitleHidden: true,
      isRight: true,
      show: (invite) => (
        <Button kind="danger" size="small" onPress={() => decline(invite)}>
          {text('strangers.decline')}
          <span className="unseen"> {text('strangers.decline-of', { user: invite.userId, room: roomOf(invite) })}</span>
        </Button>
      ),
    },
  ];
  return (
    <div className="stack">
      <DataTable
        label={text('strangers.title')}
        columns={columns}
        rows={invites.slice(0, most)}
        keyOf={({ userId, roomId }) => `${userId} ${roomId}`}
      />
      {invites.length > most && (
        <div className="row">
          <Button size="small" onPress={() => setMost(most * 4)}>
            {text('strangers.show-more', { count: invites.length - most })}
          </Button>
        </div>
      )}
    </div>
  );
}
