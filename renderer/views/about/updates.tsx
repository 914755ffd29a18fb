import type { ReactNode } from 'react';
import type { UpdateState } from '../../../main/contract.ts';
import type { Shell } from '../../api/shell.ts';
import { isInShell } from '../../api/bridge.ts';
import { Button } from '../../components/button.tsx';
import { useConfirm } from '../../components/dialog.tsx';
import { SwitchField } from '../../components/fields.tsx';
import { Progress } from '../../components/meter.tsx';
import { Card, Notice, Skeleton } from '../../components/page.tsx';
import { useNow } from '../../components/time.tsx';
import { formatAgo } from '../../models/format.ts';
import { text } from '../../strings/text.ts';

/** Whether there is a newer version, and the way to it. */
export function Updates({ shell }: { shell: Shell | undefined }): ReactNode {
  if (shell === undefined) {
    return (
      <Card title={text('updates.title')}>
        {isInShell() ? (
          <Skeleton lines={2} />
        ) : (
          <Notice title={text('updates.browser')}>{text('updates.browser-text')}</Notice>
        )}
      </Card>
    );
  }
  const { update, settings } = shell.info;
  const canCheck = update.kind === 'idle' || update.kind === 'failed';
  return (
    <Card
      title={text('updates.title')}
      actions={
        canCheck && (
          <Button icon="refresh" onPress={shell.checkForUpdates}>
            {text('updates.check')}
          </Button>
        )
      }
    >
      <State update={update} onInstall={shell.installUpdate} />
      {update.kind !== 'unavailable' && (
        <SwitchField
          label={text('updates.automatic')}
          help={text('updates.automatic-help')}
          value={settings.automaticUpdates}
          onChange={(automaticUpdates) => void shell.change({ automaticUpdates })}
        />
      )}
    </Card>
  );
}

function State({ update, onInstall }: { update: UpdateState; onInstall: () => Promise<void> }): ReactNode {
  const now = useNow();
  const confirm = useConfirm();
  switch (update.kind) {
    case 'unavailable':
      return <Notice title={text('updates.unavailable')}>{update.reason}</Notice>;
    case 'idle':
      return (
        <Notice tone="good" title={text('updates.current')}>
          {update.checkedAt === undefined
            ? text('updates.never-checked')
            : text('updates.checked', { when: formatAgo(update.checkedAt, now) })}
        </Notice>
      );
    case 'checking':
      return (
        <div className="stack tight" role="status">
          <p>{text('updates.checking')}</p>
          <Progress label={text('updates.checking')} value={undefined} />
        </div>
      );
    case 'downloading': {
      const label = text('updates.downloading', { version: update.version });
      return (
        <div className="stack tight" role="status">
          <p>{label}</p>
          <Progress label={label} value={update.progress} />
        </div>
      );
    }
    case 'ready':
      return (
        <Notice
          tone="good"
          title={text('updates.ready', { version: update.version })}
          isLive
          actions={
            <Button
              kind="primary"
              onPress={async () => {
                const isMeant = await confirm({
                  title: text('updates.install-title', { version: update.version }),
                  text: text('updates.install-text'),
                  action: text('updates.install'),
                });
                if (isMeant) await onInstall();
              }}
            >
              {text('updates.install')}
            </Button>
          }
        >
          {text('updates.ready-text')}
        </Notice>
      );
    case 'failed':
      return (
        <Notice tone="bad" title={text('updates.failed')} isLive>
          {update.message}
        </Notice>
      );
  }
}
