import { type ReactNode, useEffect, useState } from 'react';
import { useLocation } from 'wouter';
import type { Setup, SetupDraft } from '../../../server/appliance/contract.ts';
import { Refusal } from '../../api/api.ts';
import { useAct, useCall } from '../../api/calls.ts';
import { Notice } from '../../components/page.tsx';
import { useToast } from '../../components/toasts.tsx';
import { text } from '../../strings/text.ts';
import { Porch } from '../porch/porch.tsx';
import { type AccountAnswers, AccountStep } from './account-step.tsx';
import { DonePage } from './done-page.tsx';
import { NameStep } from './name-step.tsx';
import { RestorePage } from './restore-page.tsx';
import { WhereStep } from './where-step.tsx';

const STEPS = ['where', 'name', 'account', 'done'] as const;
type Step = (typeof STEPS)[number];

/** The way from nothing to a server: each step has an address, and what was answered is kept by the server. */
export function SetupPages({ setup }: { setup: Setup }): ReactNode {
  const [location, go] = useLocation();
  const asked = location.replace(/^\/setup\/?/, '');
  const step = STEPS.find((each) => each === asked) ?? 'where';
  const [draft, setDraft] = useState<SetupDraft>(setup.draft);
  const [account, setAccount] = useState<AccountAnswers>({ username: '', displayName: '', password: '' });
  // Answers given in another window count here too; what only this one knows stays.
  const given = JSON.stringify(setup.draft);
  useEffect(() => setDraft((known) => ({ ...known, ...(JSON.parse(given) as SetupDraft) })), [given]);
  // Made here or in another window, and be it that the answer got lost: the server is there.
  const isOver = setup.isDone && asked !== 'restore' && asked !== 'done';
  useEffect(() => {
    if (isOver) go('/setup/done', { replace: true });
  }, [isOver, go]);
  const save = useAct('PUT /setup');
  const toast = useToast();

  const goOn = async (changed: SetupDraft, next: Step): Promise<void> => {
    setDraft(changed);
    if (setup.nameIsFinal) {
      go(`/setup/${next}`);
      return;
    }
    const saved = await save.run({ body: meantFor(changed) });
    if (saved !== undefined) go(`/setup/${next}`);
  };
  const { failure } = save;
  useEffect(() => {
    // The step itself shows what is wrong with one of its fields.
    if (failure !== undefined && !(failure instanceof Refusal && failure.field !== undefined)) toast.failed(failure);
  }, [failure, toast]);

  if (asked === 'restore') return <RestorePage />;
  return (
    <Porch before={<Steps current={step} />}>
      <Trouble />
      <div className="porch-card">
        {step === 'where' && (
          <WhereStep
            draft={draft}
            isSaving={save.isRunning}
            onNext={(reach) => goOn(withReach(draft, reach, setup), 'name')}
          />
        )}
        {step === 'name' && (
          <NameStep
            setup={setup}
            draft={draft}
            isSaving={save.isRunning}
            refusal={failure}
            onBack={(changed) => {
              setDraft(changed);
              go('/setup/where');
            }}
            onNext={(changed) => goOn(changed, 'account')}
          />
        )}
        {step === 'account' && (
          <AccountStep
            setup={setup}
            draft={draft}
            answers={account}
            onChange={setAccount}
            onBack={() => go('/setup/name')}
            onDone={() => go('/setup/done')}
          />
        )}
        {step === 'done' && <DonePage onEnd={() => go('/status')} />}
      </div>
    </Porch>
  );
}

/** A name that was only proposed for the home network is not proposed for the world, nor the other way round. */
function withReach(draft: SetupDraft, reach: SetupDraft['reach'], { suggestions: { homeName } }: Setup): SetupDraft {
  if (reach === draft.reach) return draft;
  const isProposed = draft.serverName === homeName || draft.serverName === 'localhost';
  const serverName = reach === 'home' && (isProposed || draft.serverName === '') ? homeName : draft.serverName;
  return { ...draft, reach, serverName };
}

/** Without the answers to what is not asked for this way: they are only kept in case somebody goes back. */
function meantFor({ publicUrl, certificatePath, privateKeyPath, ...rest }: SetupDraft): SetupDraft {
  const { reach } = rest;
  return {
    ...rest,
    ...(reach !== 'home' && publicUrl !== undefined ? { publicUrl } : {}),
    ...(reach === 'domain' && certificatePath !== undefined ? { certificatePath } : {}),
    ...(reach === 'domain' && privateKeyPath !== undefined ? { privateKeyPath } : {}),
  };
}

const EVERY_MS = 5_000;

/** What keeps the server from starting is said before all questions are answered. */
function Trouble(): ReactNode {
  const status = useCall('GET /status', {}, { everyMs: EVERY_MS }).data;
  const reason = status?.line === 'failed' ? status.reasons[0] : undefined;
  if (reason === undefined) return null;
  return (
    <Notice tone="bad" title={text('setup.trouble')} isLive>
      <p className="break">{reason.text}</p>
      {reason.nextStep !== undefined && <p>{reason.nextStep}</p>}
    </Notice>
  );
}

function Steps({ current }: { current: Step }): ReactNode {
  const at = STEPS.indexOf(current);
  return (
    <ol className="steps" aria-label={text('setup.steps')}>
      {STEPS.map((step, index) => (
        <li key={step} className={index < at ? 'past' : ''} {...(index === at ? { 'aria-current': 'step' } : {})}>
          {text(`setup.step.${step}`)}
        </li>
      ))}
    </ol>
  );
}
