import { type ReactNode, useState } from 'react';
import { Form } from 'react-aria-components';
import type { Backups, BackupSchedule } from '../../../server/appliance/contract.ts';
import { useAct } from '../../api/calls.ts';
import { pathChooser } from '../../api/shell.ts';
import { Button } from '../../components/button.tsx';
import { CheckboxField, PasswordField, Segments, Select, TextField } from '../../components/fields.tsx';
import { Card } from '../../components/page.tsx';
import { StrengthMeter } from '../../components/strength-meter.tsx';
import { useToast } from '../../components/toasts.tsx';
import { formatHour } from '../../models/format.ts';
import { text } from '../../strings/text.ts';
import { FailureNotice, passphraseProblem, problemAt } from './parts.tsx';

type Every = BackupSchedule['every'];
const RHYTHMS = ['never', 'day', 'week'] as const satisfies readonly Every[];
const KEPT = [1, 2, 3, 5, 7, 10, 14, 30, 60, 100] as const;
const FIELDS = ['directory', 'passphrase'] as const;

/** An hour of the day, as a clock here shows it. */
function hourName(hour: number): string {
  return formatHour(new Date(2026, 0, 1, hour).getTime());
}

/** When backups make themselves, where they go, and how many stay. */
export function Schedule({ backups }: { backups: Backups }): ReactNode {
  const [plan, setPlan] = useState(backups.schedule);
  const [passphrase, setPassphrase] = useState('');
  const [again, setAgain] = useState('');
  const [isTried, setTried] = useState(false);
  const save = useAct('PUT /backups/schedule');
  const toast = useToast();
  const isOn = plan.every !== 'never';
  const needsNone = passphrase === '' && (plan.hasPassphrase || !isOn);
  const { first, second } = needsNone ? {} : passphraseProblem(passphrase, again);
  const choose = pathChooser();
  const submit = async (): Promise<void> => {
    setTried(true);
    if (first !== undefined || second !== undefined || save.isRunning) return;
    const { every, atHour, keep, media, directory = '', passphraseHint = '' } = plan;
    const saved = await save.run({
      body: {
        every,
        atHour,
        keep,
        media,
        ...(directory.trim() === '' ? {} : { directory: directory.trim() }),
        ...(passphraseHint.trim() === '' ? {} : { passphraseHint: passphraseHint.trim() }),
        ...(passphrase === '' ? {} : { passphrase }),
      },
    });
    if (saved === undefined) return;
    setPassphrase('');
    setAgain('');
    setTried(false);
    toast.done(text('schedule.saved'));
  };
  return (
    <Card title={text('schedule.title')} lead={text('schedule.lead')}>
      <Form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <FailureNotice act={save} fields={FIELDS} />
        <div>
          <Segments<Every>
            label={text('schedule.every')}
            value={plan.every}
            choices={RHYTHMS.map((id) => ({ id, title: text(`schedule.${id}`) }))}
            onChange={(every) => setPlan({ ...plan, every })}
          />
        </div>
        {isOn && (
          <div className="grid" style={{ '--least': '200px' } as React.CSSProperties}>
            <Select
              label={text('schedule.hour')}
              value={String(plan.atHour)}
              choices={Array.from({ length: 24 }, (_hour, hour) => ({ id: String(hour), title: hourName(hour) }))}
              onChange={(hour) => setPlan({ ...plan, atHour: Number(hour) })}
            />
            <Select
              label={text('schedule.keep')}
              value={String(plan.keep)}
              choices={[...new Set([...KEPT, plan.keep])]
                .sort((one, other) => one - other)
                .map((count) => ({ id: String(count), title: text('schedule.keep-count', { count }) }))}
              onChange={(keep) => setPlan({ ...plan, keep: Number(keep) })}
            />
          </div>
        )}
        <TextField
          label={text('schedule.directory')}
          help={text('schedule.directory-help')}
          value={plan.directory ?? ''}
          onChange={(directory) => setPlan({ ...plan, directory })}
          isCode
          autoComplete="off"
          problem={problemAt(save, 'directory')}
        />
        {choose !== undefined && (
          <div>
            <Button
              size="small"
              icon="folder"
              onPress={async () => {
                const directory = await choose('folder');
                if (directory !== undefined) setPlan({ ...plan, directory });
              }}
            >
              {text('schedule.choose')}
            </Button>
          </div>
        )}
        {isOn && (
          <>
            <PasswordField
              label={text('backups.passphrase')}
              help={text(plan.hasPassphrase ? 'schedule.passphrase-set' : 'backups.passphrase-new')}
              value={passphrase}
              onChange={setPassphrase}
              autoComplete="new-password"
              problem={problemAt(save, 'passphrase') ?? (isTried ? first : undefined)}
            />
            {!needsNone && (
              <>
                <StrengthMeter password={passphrase} />
                <PasswordField
                  label={text('backups.passphrase-again')}
                  value={again}
                  onChange={setAgain}
                  autoComplete="new-password"
                  problem={isTried ? second : undefined}
                />
              </>
            )}
          </>
        )}
        <TextField
          label={text('schedule.hint')}
          help={text('schedule.hint-help')}
          value={plan.passphraseHint ?? ''}
          onChange={(passphraseHint) => setPlan({ ...plan, passphraseHint })}
          autoComplete="off"
        />
        <CheckboxField
          label={text('backups.media')}
          help={text('backups.media-help')}
          value={plan.media}
          onChange={(media) => setPlan({ ...plan, media })}
        />
        <div className="row">
          <Button type="submit" kind="primary" isBusy={save.isRunning}>
            {text('common.save')}
          </Button>
        </div>
      </Form>
    </Card>
  );
}
