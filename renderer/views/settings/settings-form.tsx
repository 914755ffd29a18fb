import { type ReactNode, useEffect, useRef, useState } from 'react';
import { Form } from 'react-aria-components';
import type { Setting, SettingValue } from '../../../server/appliance/contract.ts';
import { Refusal } from '../../api/api.ts';
import { useAct } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { SearchField } from '../../components/fields.tsx';
import { Card, EmptyState, Notice, sayFailure } from '../../components/page.tsx';
import { useRestartNote } from '../../components/restart.tsx';
import { useToast } from '../../components/toasts.tsx';
import { type Draft, isChange, valueOf } from '../../models/setting-draft.ts';
import { text } from '../../strings/text.ts';
import { SettingField } from './setting-field.tsx';

type Drafts = Readonly<Record<string, Draft>>;

/** The settings by their groups, and what was changed of them but not saved yet. */
export function SettingsForm({
  settings,
  search,
  onSearch,
  isFileBroken,
}: {
  settings: readonly Setting[];
  search: string;
  onSearch: (search: string) => void;
  isFileBroken: boolean;
}): ReactNode {
  const [drafts, setDrafts] = useState<Drafts>({});
  const save = useAct('PUT /settings');
  const note = useRestartNote();
  const toast = useToast();
  const changed = settings.filter((setting) => {
    const draft = drafts[setting.path];
    return draft !== undefined && isChange(setting, draft);
  });
  const values: Record<string, SettingValue> = {};
  for (const setting of changed) {
    const draft = drafts[setting.path];
    const value = draft === undefined ? undefined : valueOf(setting, draft);
    if (value !== undefined) values[setting.path] = value;
  }
  const wrong = changed.length - Object.keys(values).length;
  const { failure } = save;
  const faultAt = failure instanceof Refusal ? failure.field : undefined;
  const isFaultShown = settings.some(({ path }) => path === faultAt);
  useReveal(failure === undefined ? undefined : faultAt, () => onSearch(''));
  const submit = async (): Promise<void> => {
    if (changed.length === 0 || wrong > 0 || save.isRunning) return;
    const answer = await save.run({ body: { values } });
    if (answer === undefined) return;
    setDrafts({});
    note(answer);
    toast.done(text('settings.saved'));
  };
  const change = (path: string, draft: Draft | undefined): void => {
    setDrafts(({ [path]: _former, ...others }) => (draft === undefined ? others : { ...others, [path]: draft }));
  };
  const wanted = search.trim().toLowerCase();
  const shown = settings.filter(({ path, title, help }) =>
    [path, title, help].some((each) => each.toLowerCase().includes(wanted)),
  );
  const groups = [...new Set(shown.map(({ group }) => group))];
  return (
    <Form
      className="stack wide"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <SearchField
        label={text('settings.search')}
        placeholder={text('settings.search-hint')}
        value={search}
        onChange={onSearch}
      />
      {groups.length > 1 && <Sections groups={groups} />}
      {failure !== undefined && !isFaultShown && (
        <Notice tone="bad" isLive>
          {sayFailure(failure)}
        </Notice>
      )}
      {shown.length === 0 && (
        <Card>
          <EmptyState
            icon="search"
            title={text('search.none')}
            action={<Button onPress={() => onSearch('')}>{text('search.clear')}</Button>}
          >
            {text('search.none-text', { search })}
          </EmptyState>
        </Card>
      )}
      {groups.map((group) => (
        <Card key={group} title={group}>
          <ul id={sectionId(group)} className="settings">
            {shown
              .filter((setting) => setting.group === group)
              .map((setting) => (
                <SettingField
                  key={setting.path}
                  setting={setting}
                  draft={drafts[setting.path]}
                  onChange={(draft) => change(setting.path, draft)}
                  problem={failure !== undefined && faultAt === setting.path ? sayFailure(failure) : undefined}
                />
              ))}
          </ul>
        </Card>
      ))}
      {changed.length > 0 && (
        <div className="save-bar">
          <p role="status">
            <strong>{text('settings.changes', { count: changed.length })}</strong>{' '}
            <span className={wrong > 0 ? 'tone-bad' : 'muted'}>
              {wrong > 0
                ? text('settings.wrong', { count: wrong })
                : changed.some(({ needsRestart }) => needsRestart) && text('settings.changes-restart')}
            </span>
          </p>
          <div className="row tight">
            <Button
              kind="quiet"
              onPress={() => {
                setDrafts({});
                save.reset();
              }}
            >
              {text('settings.discard')}
            </Button>
            <Button type="submit" kind="primary" isBusy={save.isRunning} isDisabled={wrong > 0 || isFileBroken}>
              {text('common.save')}
            </Button>
          </div>
        </div>
      )}
    </Form>
  );
}

function sectionId(group: string): string {
  return `settings-${group.toLowerCase().replaceAll(/[^\p{L}\p{N}]+/gu, '-')}`;
}

/** The way to each group of a long page. */
function Sections({ groups }: { groups: readonly string[] }): ReactNode {
  return (
    <nav aria-label={text('settings.sections')} className="section-links">
      {groups.map((group) => (
        <Button
          key={group}
          kind="quiet"
          size="small"
          onPress={() => {
            const section = document.getElementById(sectionId(group));
            section?.closest('section')?.scrollIntoView();
            section?.querySelector<HTMLElement>('input, textarea, button')?.focus({ preventScroll: true });
          }}
        >
          {group}
        </Button>
      ))}
    </nav>
  );
}

/** Takes the person to the setting that the server refused. */
function useReveal(path: string | undefined, show: () => void): void {
  const latest = useRef(show);
  useEffect(() => {
    latest.current = show;
  });
  useEffect(() => {
    if (path === undefined) return;
    latest.current();
    const frame = requestAnimationFrame(() => {
      const field = document.getElementById(`setting-${path}`);
      field?.querySelector<HTMLElement>('input, textarea, button')?.focus();
      field?.scrollIntoView({ block: 'center' });
    });
    return () => cancelAnimationFrame(frame);
  }, [path]);
}
