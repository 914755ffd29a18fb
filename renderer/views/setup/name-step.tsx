import { type ReactNode, useState } from 'react';
import type { Setup, SetupDraft } from '../../../server/appliance/contract.ts';
import { type Failure, Refusal } from '../../api/api.ts';
import { Button, Spinner } from '../../components/button.tsx';
import { TextField } from '../../components/fields.tsx';
import { FindingList } from '../../components/findings.tsx';
import { Icon } from '../../components/icon.tsx';
import { Details, Notice, sayFailure } from '../../components/page.tsx';
import { checkPublicUrl, tidyServerName } from '../../models/server-name.ts';
import { text } from '../../strings/text.ts';
import { PorchTitle } from '../porch/porch.tsx';
import { StepForm } from './step-form.tsx';
import { useNameCheck } from './use-name-check.ts';

interface NameStepProps {
  readonly setup: Setup;
  readonly draft: SetupDraft;
  readonly isSaving: boolean;
  /** Why the server did not take the answers. */
  readonly refusal: Failure | undefined;
  /** With what was answered so far. */
  readonly onBack: (draft: SetupDraft) => void;
  readonly onNext: (draft: SetupDraft) => unknown;
}

export function NameStep({ setup, draft, isSaving, refusal, onBack, onNext }: NameStepProps): ReactNode {
  const { reach } = draft;
  const [serverName, setServerName] = useState(() => firstName(setup, draft));
  const [publicUrl, setPublicUrl] = useState(draft.publicUrl ?? '');
  const [files, setFiles] = useState({ certificate: draft.certificatePath ?? '', key: draft.privateKeyPath ?? '' });
  const name = setup.nameIsFinal ? draft.serverName : tidyServerName(serverName);
  const check = useNameCheck(setup.nameIsFinal ? undefined : { reach, serverName: name });
  const isUrlWrong = publicUrl.trim() !== '' && !checkPublicUrl(publicUrl);
  const isReady = name !== '' && !check.isChecking && check.verdict !== 'refused' && !isUrlWrong;
  const problemOf = (field: string): string | undefined =>
    refusal instanceof Refusal && refusal.field === field ? sayFailure(refusal) : undefined;
  return (
    <>
      <PorchTitle title={text('setup.name.title')} lead={text('setup.name.lead')} />
      <StepForm
        onSubmit={() => {
          if (isReady) return onNext(draftOf(draft, name, publicUrl, files));
        }}
        foot={
          <>
            <Button
              kind="quiet"
              size="large"
              icon="arrow-left"
              onPress={() => onBack(draftOf(draft, name, publicUrl, files))}
            >
              {text('common.back')}
            </Button>
            <Button type="submit" kind="primary" size="large" isBusy={isSaving} isDisabled={!isReady}>
              {text('common.continue')}
            </Button>
          </>
        }
      >
        {setup.nameIsFinal ? (
          <Notice title={draft.serverName}>{text('setup.name.is-final')}</Notice>
        ) : (
          <TextField
            label={text('setup.name.label')}
            help={text(reach === 'home' ? 'setup.name.help-home' : 'setup.name.help-domain')}
            value={serverName}
            onChange={setServerName}
            {...(reach === 'home' ? {} : { placeholder: text('setup.name.example') })}
            problem={problemOf('serverName')}
            autoComplete="off"
            isCode
            isRequired
            autoFocus
          />
        )}
        <div aria-live="polite" className="stack">
          {name !== '' && check.verdict !== 'refused' && (
            <p className="preview-id">
              <span className="muted">{text('setup.name.preview')}</span>{' '}
              <strong className="mono">{`@${text('setup.name.you')}:${name}`}</strong>
            </p>
          )}
          {check.isChecking && (
            <p className="row tight muted">
              <Spinner /> {text('setup.name.checking')}
            </p>
          )}
          {check.failure !== undefined && <Notice tone="bad">{sayFailure(check.failure)}</Notice>}
          {check.findings !== undefined && check.findings.length > 0 && (
            <FindingList findings={check.findings} label={text('setup.name.findings')} />
          )}
          {check.findings?.length === 0 && check.verdict === 'good' && (
            <p className="row tight tone-good">
              <Icon name="good" /> {text('setup.name.good')}
            </p>
          )}
        </div>
        {reach !== 'home' && (
          <TextField
            label={text(reach === 'proxy' ? 'setup.name.public-url' : 'setup.name.public-url-optional')}
            help={text(reach === 'proxy' ? 'setup.name.public-url-help' : 'setup.name.public-url-help-domain')}
            value={publicUrl}
            onChange={setPublicUrl}
            problem={isUrlWrong ? text('setup.name.public-url-bad') : problemOf('publicUrl')}
            placeholder={`https://${name === '' ? text('setup.name.example') : name}`}
            autoComplete="off"
            isCode
          />
        )}
        {reach === 'domain' && (
          <Details
            summary={text('setup.name.certificate')}
            isOpen={files.certificate !== '' || problemOf('certificatePath') !== undefined}
          >
            <div className="stack">
              <p className="muted small">{text('setup.name.certificate-help')}</p>
              <TextField
                label={text('setup.name.certificate-path')}
                value={files.certificate}
                onChange={(certificate) => setFiles({ ...files, certificate })}
                problem={problemOf('certificatePath')}
                isCode
                autoComplete="off"
              />
              <TextField
                label={text('setup.name.key-path')}
                value={files.key}
                onChange={(key) => setFiles({ ...files, key })}
                problem={problemOf('privateKeyPath')}
                isCode
                autoComplete="off"
              />
            </div>
          </Details>
        )}
        {!setup.nameIsFinal && (
          <div className="permanent">
            <Icon name="lock" />
            <p className="small">
              <strong>{text('setup.name.permanent-title')}</strong> {text('setup.name.permanent')}
            </p>
          </div>
        )}
      </StepForm>
    </>
  );
}

/** What stands in the field at first: a name that only fits the home network is no proposal for the world. */
function firstName({ suggestions: { homeName } }: Setup, { reach, serverName }: SetupDraft): string {
  if (reach === 'home') return serverName === '' || serverName === 'localhost' ? homeName : serverName;
  return serverName === homeName || serverName === 'localhost' ? '' : serverName;
}

function draftOf(
  before: SetupDraft,
  serverName: string,
  publicUrl: string,
  files: { certificate: string; key: string },
): SetupDraft {
  const { reach, dataDirectory } = before;
  const given: Record<string, string> = {};
  for (const [option, answer] of [
    ['publicUrl', publicUrl.trim().replace(/\/+$/, '')],
    ['certificatePath', files.certificate.trim()],
    ['privateKeyPath', files.key.trim()],
  ] as const) {
    if (answer !== '') given[option] = answer;
  }
  return { reach, serverName, ...(dataDirectory === undefined ? {} : { dataDirectory }), ...given };
}
