import { type ReactNode, useState } from 'react';
import type { Invitation } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { type Column, DataTable } from '../../components/data-table.tsx';
import { useDeed } from '../../components/deed.tsx';
import { Dialog, useConfirm } from '../../components/dialog.tsx';
import { MenuButton } from '../../components/menu.tsx';
import { Badge, EmptyState, Loaded } from '../../components/page.tsx';
import { Ago, useNow } from '../../components/time.tsx';
import { useToast } from '../../components/toasts.tsx';
import { text } from '../../strings/text.ts';
import { Share } from './share.tsx';

type State = 'open' | 'used-up' | 'expired';

function stateOf({ usesLeft, expiresAt }: Invitation, now: number): State {
  if (usesLeft === 0) return 'used-up';
  return expiresAt !== undefined && expiresAt <= now ? 'expired' : 'open';
}

function titleOf({ note }: Invitation): string {
  return note === undefined || note === '' ? text('invitations.unnamed') : note;
}

/** All invitations, and what can be done with them. */
export function InvitationList({ onNew }: { onNew: () => void }): ReactNode {
  const read = useCall('GET /invitations');
  return (
    <Loaded read={read}>
      {({ invitations }) =>
        invitations.length === 0 ? (
          <EmptyState
            icon="ticket"
            title={text('invitations.none')}
            action={<Button onPress={onNew}>{text('invitations.new')}</Button>}
          >
            {text('invitations.none-text')}
          </EmptyState>
        ) : (
          <Table invitations={invitations} />
        )
      }
    </Loaded>
  );
}

function Table({ invitations }: { invitations: readonly Invitation[] }): ReactNode {
  const now = useNow();
  const [shown, setShown] = useState<Invitation>();
  const remove = useDeed('DELETE /invitations/{token}');
  const confirm = useConfirm();
  const toast = useToast();
  const revoke = async ({ token }: Invitation): Promise<void> => {
    const isMeant = await confirm({
      title: text('invitations.revoke-title'),
      text: text('invitations.revoke-text'),
      action: text('invitations.revoke'),
      isDangerous: true,
    });
    if (!isMeant || (await remove.run({ params: { token } })) === undefined) return;
    toast.done(text('invitations.revoked'));
  };
  const columns: readonly Column<Invitation>[] = [
    {
      id: 'for',
      title: text('invitations.for'),
      isLead: true,
      sortBy: titleOf,
      show: (invitation) => (
        <span className="who-names">
          <strong>{titleOf(invitation)}</strong>
          <code className="muted break">{invitation.token}</code>
        </span>
      ),
    },
    {
      id: 'state',
      title: text('invitations.state'),
      show: (invitation) => {
        const state = stateOf(invitation, now);
        return (
          <Badge {...(state === 'open' ? { tone: 'good' as const } : {})} icon={STATE_ICONS[state]}>
            {text(`invitations.${state}`)}
          </Badge>
        );
      },
    },
    {
      id: 'uses',
      title: text('invitations.uses'),
      show: ({ usesLeft, used }) => (
        <span>
          {usesLeft === undefined ? text('invitations.uses-any') : text('invitations.uses-left', { count: usesLeft })}
          {used > 0 && <span className="muted">, {text('invitations.used', { count: used })}</span>}
        </span>
      ),
    },
    {
      id: 'expires',
      title: text('invitations.expires'),
      isRight: true,
      sortBy: ({ expiresAt = Infinity }) => expiresAt,
      show: ({ expiresAt }) => <Ago at={expiresAt} none={text('invitations.never')} />,
    },
    {
      id: 'actions',
      title: text('people.actions'),
      isTitleHidden: true,
      isRight: true,
      show: (invitation) => (
        <MenuButton
          label={text('invitations.actions-for', { name: titleOf(invitation) })}
          actions={[
            {
              id: 'show',
              title: text('invitations.show'),
              icon: 'ticket',
              isDisabled: stateOf(invitation, now) !== 'open',
              onPress: () => setShown(invitation),
            },
            {
              id: 'revoke',
              title: text('invitations.revoke'),
              icon: 'trash',
              isDangerous: true,
              onPress: () => revoke(invitation),
            },
          ]}
        />
      ),
    },
  ];
  return (
    <>
      <DataTable label={text('invitations.title')} columns={columns} rows={invitations} keyOf={({ token }) => token} />
      {shown !== undefined && (
        <Dialog
          title={titleOf(shown)}
          isOpen
          onClose={() => setShown(undefined)}
          actions={<Button onPress={() => setShown(undefined)}>{text('common.close')}</Button>}
        >
          <Share invitation={shown} />
        </Dialog>
      )}
    </>
  );
}

const STATE_ICONS = { open: 'good', 'used-up': 'check', expired: 'clock' } as const;
