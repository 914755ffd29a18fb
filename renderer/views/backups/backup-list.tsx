import { type ReactNode, useState } from 'react';
import type { BackupFile } from '../../../server/appliance/contract.ts';
import { folderOpener } from '../../api/bridge.ts';
import { Button } from '../../components/button.tsx';
import { type Column, DataTable } from '../../components/data-table.tsx';
import { useDeed } from '../../components/deed.tsx';
import { useConfirm } from '../../components/dialog.tsx';
import { MenuButton } from '../../components/menu.tsx';
import { Badge, Card, EmptyState } from '../../components/page.tsx';
import { Ago } from '../../components/time.tsx';
import { useToast } from '../../components/toasts.tsx';
import { formatBytes, formatMoment } from '../../models/format.ts';
import { text } from '../../strings/text.ts';
import { VerifyDialog } from './verify-dialog.tsx';

/** The backups that lie in the folder, and what can be done with each. */
export function BackupList({
  backups,
  onMake,
  onRestore,
  onVerifying,
}: {
  backups: readonly BackupFile[];
  onMake: () => void;
  onRestore: (backup: BackupFile) => void;
  onVerifying: (jobId: string) => void;
}): ReactNode {
  const open = folderOpener();
  return (
    <Card
      title={text('backups.list')}
      lead={text('backups.list-lead')}
      actions={
        open !== undefined && (
          <Button icon="folder" onPress={() => open('backups')}>
            {text('backups.open-folder')}
          </Button>
        )
      }
    >
      {backups.length === 0 ? (
        <EmptyState
          icon="archive"
          title={text('backups.none')}
          action={<Button onPress={onMake}>{text('backups.make')}</Button>}
        >
          {text('backups.none-text')}
        </EmptyState>
      ) : (
        <Table backups={backups} onRestore={onRestore} onVerifying={onVerifying} />
      )}
    </Card>
  );
}

const COLUMNS: readonly Column<BackupFile>[] = [
  {
    id: 'made',
    title: text('backups.made'),
    isLead: true,
    sortBy: ({ madeAt }) => madeAt,
    show: ({ madeAt, name, serverName }) => (
      <span className="who-names">
        <strong>{formatMoment(madeAt)}</strong>
        <span className="muted small">
          <Ago at={madeAt} />
          {serverName !== undefined && ` · ${serverName}`}
        </span>
        <code className="muted break">{name}</code>
      </span>
    ),
  },
  {
    id: 'state',
    title: text('backups.state'),
    show: ({ isVerified }) =>
      isVerified ? (
        <Badge tone="good" icon="good">
          {text('backups.verified')}
        </Badge>
      ) : (
        <Badge icon="skipped">{text('backups.unverified')}</Badge>
      ),
  },
  {
    id: 'size',
    title: text('backups.size'),
    isRight: true,
    sortBy: ({ bytes }) => bytes,
    show: ({ bytes }) => formatBytes(bytes),
  },
];

function Table({
  backups,
  onRestore,
  onVerifying,
}: {
  backups: readonly BackupFile[];
  onRestore: (backup: BackupFile) => void;
  onVerifying: (jobId: string) => void;
}): ReactNode {
  const [verified, setVerified] = useState<BackupFile>();
  const remove = useDeed('DELETE /backups/{name}');
  const confirm = useConfirm();
  const toast = useToast();
  const drop = async ({ name, madeAt }: BackupFile): Promise<void> => {
    const isMeant = await confirm({
      title: text('backups.delete-title', { when: formatMoment(madeAt) }),
      text: (
        <>
          <p className="break">{text('backups.delete-text', { name })}</p>
          {backups.length === 1 && (
            <p>
              <strong>{text('backups.delete-last')}</strong>
            </p>
          )}
        </>
      ),
      action: text('backups.delete'),
      isDangerous: true,
    });
    if (!isMeant || (await remove.run({ params: { name } })) === undefined) return;
    toast.done(text('backups.deleted'));
  };
  const copyPath = async (path: string): Promise<void> => {
    try {
      await navigator.clipboard.writeText(path);
      toast.done(text('copy.done'));
    } catch {
      toast.failed(text('copy.failed'));
    }
  };
  const actions: Column<BackupFile> = {
    id: 'actions',
    title: text('backups.actions'),
    isTitleHidden: true,
    isRight: true,
    show: (backup) => (
      <MenuButton
        label={text('backups.actions-for', { when: formatMoment(backup.madeAt) })}
        actions={[
          { id: 'verify', title: text('backups.verify'), icon: 'check', onPress: () => setVerified(backup) },
          { id: 'restore', title: text('backups.restore-this'), icon: 'refresh', onPress: () => onRestore(backup) },
          { id: 'copy', title: text('backups.copy-path'), icon: 'copy', onPress: () => copyPath(backup.path) },
          {
            id: 'delete',
            title: text('backups.delete'),
            icon: 'trash',
            isDangerous: true,
            onPress: () => drop(backup),
          },
        ]}
      />
    ),
  };
  return (
    <>
      <DataTable
        label={text('backups.list')}
        columns={[...COLUMNS, actions]}
        rows={backups}
        keyOf={({ name }) => name}
      />
      {verified !== undefined && (
        <VerifyDialog
          backup={verified}
          onClose={() => setVerified(undefined)}
          onStarted={(jobId) => {
            onVerifying(jobId);
            setVerified(undefined);
          }}
        />
      )}
    </>
  );
}
