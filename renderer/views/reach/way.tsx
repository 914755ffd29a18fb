import { type ReactNode, useState } from 'react';
import type { Reach, Setup, SetupDraft } from '../../../server/appliance/contract.ts';
import { Refusal } from '../../api/api.ts';
import { useAct, useCall } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { Dialog } from '../../components/dialog.tsx';
import { RadioCards, TextField } from '../../components/fields.tsx';
import { Card, Facts, Loaded, Notice, sayFailure } from '../../components/page.tsx';
import { useRestartNote } from '../../components/restart.tsx';
import { useToast } from '../../components/toasts.tsx';
import { checkPublicUrl } from '../../models/server-name.ts';
import { text } from '../../strings/text.ts';

/** From where the server is reached, and the means to change that later. */
export function Way(): ReactNode {
  const read = useCall('GET /setup');
  const [isChanging, setChanging] = useState(false);
  return (
    <Card
      title={text('way.title')}
      actions={
        read.data !== undefined && (
          <Button size="small" onPress={() => setChanging(true)}>
            {text('way.change')}
          </Button>
        )
      }
    >
      <Loaded read={read} lines={2}>
        {(setup) => (
          <>
            <WayFacts draft={setup.draft} />
            {isChanging && <WayDialog setup={setup} onClose={() => setChanging(false)} />}
          </>
        )}
      </Loaded>
    </Card>
  );
}

function WayFacts({ draft }: { draft: SetupDraft }): ReactNode {
  return (
    <Facts
      facts={[
        [text('way.reach'), text(`setup.reach.${draft.reach}`)],
        [text('status.server-name'), draft.serverName],
        [text('setup.name.public-url'), draft.publicUrl],
        [text('setup.name.certificate-path'), draft.certificatePath],
      ]}
    />
  );
}

function WayDialog({ setup: { draft }, onClose }: { setup: Setup; onClose: () => void }): ReactNode {
  const [reach, setReach] = useState(draft.reach);
  const [publicUrl, setPublicUrl] = useState(draft.publicUrl ?? '');
  const [certificate, setCertificate] = useState(draft.certificatePath ?? '');
  const [key, setKey] = useState(draft.privateKeyPath ?? '');
  const change = useAct('PUT /reach');
  const note = useRestartNote();
  const toast = useToast();
  const { failure } = change;
  const faultAt = failure instanceof Refusal ? failure.field : undefined;
  const problemOf = (field: string): string | undefined =>
    faultAt === field && failure !== undefined ? sayFailure(failure) : undefined;
  const isUrlWrong = publicUrl.trim() !== '' && !checkPublicUrl(publicUrl);
  const save = async (): Promise<void> => {
    if (isUrlWrong) return;
    const changed = await change.run({
      body: {
        reach,
        ...(reach === 'home' ? {} : given('publicUrl', publicUrl.trim().replace(/\/+$/, ''))),
        ...(reach === 'domain'
          ? { ...given('certificatePath', certificate.trim()), ...given('privateKeyPath', key.trim()) }
          : {}),
      },
    });
    if (changed === undefined) return;
    note(changed);
    toast.done(text('way.changed'));
    onClose();
  };
  return (
    <Dialog
      title={text('way.change-title')}
      isOpen
      isWide
      onClose={onClose}
      onSubmit={save}
      isBusy={change.isRunning}
      actions={
        <>
          <Button onPress={onClose}>{text('common.cancel')}</Button>
          <Button type="submit" kind="primary" isBusy={change.isRunning} isDisabled={isUrlWrong}>
            {text('common.save')}
          </Button>
        </>
      }
    >
      {failure !== undefined && !['publicUrl', 'certificatePath', 'privateKeyPath'].includes(faultAt ?? '') && (
        <Notice tone="bad" isLive>
          {sayFailure(failure)}
        </Notice>
      )}
      <p className="muted">{text('way.change-lead', { name: draft.serverName })}</p>
      <RadioCards<Reach>
        label={text('setup.where.title')}
        value={reach}
        onChange={setReach}
        choices={[
          { id: 'home', title: text('setup.reach.home'), icon: 'home' },
          { id: 'domain', title: text('setup.reach.domain'), icon: 'globe' },
          { id: 'proxy', title: text('setup.reach.proxy'), icon: 'proxy' },
        ]}
      />
      {reach !== 'home' && (
        <TextField
          label={text(reach === 'proxy' ? 'setup.name.public-url' : 'setup.name.public-url-optional')}
          value={publicUrl}
          onChange={setPublicUrl}
          problem={isUrlWrong ? text('setup.name.public-url-bad') : problemOf('publicUrl')}
          isCode
          autoComplete="off"
        />
      )}
      {reach === 'domain' && (
        <>
          <TextField
            label={text('setup.name.certificate-path')}
            help={text('way.certificate-help')}
            value={certificate}
            onChange={setCertificate}
            problem={problemOf('certificatePath')}
            isCode
            autoComplete="off"
          />
          <TextField
            label={text('setup.name.key-path')}
            value={key}
            onChange={setKey}
            problem={problemOf('privateKeyPath')}
            isCode
            autoComplete="off"
          />
        </>
      )}
    </Dialog>
  );
}

/** A property, unless it was left empty. */
function given<K extends string>(name: K, value: string): { [P in K]?: string } {
  return (value === '' ? {} : { [name]: value }) as { [P in K]?: string };
}
