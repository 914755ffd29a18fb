import { type ReactNode, useState } from 'react';
import type { Reach, SetupDraft } from '../../../server/appliance/contract.ts';
import { Button, TextLink } from '../../components/button.tsx';
import { RadioCards } from '../../components/fields.tsx';
import { text } from '../../strings/text.ts';
import { PorchTitle } from '../porch/porch.tsx';
import { StepForm } from './step-form.tsx';

export function WhereStep({
  draft,
  isSaving,
  onNext,
}: {
  draft: SetupDraft;
  isSaving: boolean;
  onNext: (reach: Reach) => unknown;
}): ReactNode {
  const [reach, setReach] = useState(draft.reach);
  return (
    <>
      <PorchTitle title={text('setup.welcome')} lead={text('setup.welcome-lead')} />
      <StepForm
        onSubmit={() => onNext(reach)}
        foot={
          <Button type="submit" kind="primary" size="large" isBusy={isSaving}>
            {text('common.continue')}
          </Button>
        }
      >
        <RadioCards<Reach>
          label={text('setup.where.title')}
          value={reach}
          onChange={setReach}
          choices={[
            { id: 'home', title: text('setup.reach.home'), text: text('setup.reach.home-text'), icon: 'home' },
            { id: 'domain', title: text('setup.reach.domain'), text: text('setup.reach.domain-text'), icon: 'globe' },
            { id: 'proxy', title: text('setup.reach.proxy'), text: text('setup.reach.proxy-text'), icon: 'proxy' },
          ]}
        />
      </StepForm>
      <p className="muted small">
        {text('setup.restore-title')} <TextLink href="#/setup/restore">{text('setup.restore-link')}</TextLink>
      </p>
    </>
  );
}
