import { type ReactNode, useEffect, useRef, useState } from 'react';
import { Form } from 'react-aria-components';
import type { Setting, SettingValue } from '../../../server/appliance/contract.ts';
import { type Failure, Refusal } from '../../api/api.ts';
import { useAct } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { SearchField } from '../../components/fields.tsx';
import { Card, Details, EmptyState, Notice, sayFailure } from '../../components/page.tsx';
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
  onStale,
}: {
  settings: readonly Setting[];
  search: string;
  onSearch: (search: string) => void;
  /** What is shown is not what is so any more. */
  onStale: () => void;
}): ReactNode {
  const [drafts, setDrafts] = useState<Drafts>({});
  // What each was when it was begun to be changed: somebody else may change it meanwhile.
  const [former, setFormer] = useState<Readonly<Record<string, SettingValue>>>({});
  const top = useRef<HTMLDivElement>(null);
  const save = useAct('PUT /settings');
  const note = useRestartNote();
  const toast = useToast();
  const changed = settings.filter((setting) => {
    const draft = drafts[setting.path];
    return draft !== undefined && isChange(setting, draft);
  });
  const values: Record<string, SettingValue> = {};
  const was: Record<string, SettingValue> = {};
  for (const setting of changed) {
    const draft = drafts[setting.path];
    const value = draft === undefined ? undefined : valueOf(setting, draft);
    if (value === undefined) continue;
    values[setting.path] = value;
    const begunAt = former[setting.path];
    was[setting.path] = begunAt === undefined ? setting.value : begunAt;
  }
  const wrong = changed.length - Object.keys(values).length;
  const { failure } = save;
  const faultAt = failure instanceof Refusal ? failure.field : undefined;
  const isFaultShown = settings.some(({ path }) => path === faultAt);
  useReveal(failure === undefined ? undefined : faultAt, () => onSearch(''));
  const submit = async (): Promise<void> => {
    if (changed.length === 0 || wrong > 0 || save.isRunning) return;
    const answer = await save.run({ body: { values, was } });
    if (answer === undefined) return;
    setDrafts({});
    setFormer({});
    note(answer);
    toast.done(text('settings.saved'));
  };
  useStale(failure, faultAt, (path) => {
    setFormer(({ [path]: _former, ...others }) => others);
    onStale();
  });
  const change = ({ path, value }: Setting, draft: Draft | undefined): void => {
    setFormer((known) => (path in known ? known : { ...known, [path]: value }));
    setDrafts(({ [path]: _former, ...others }) => (draft === undefined ? others : { ...others, [path]: draft }));
  };
  const wanted = search.trim().toLowerCase();
  const shown = settings.filter(({ path, group, title, help }) =>
    [path, group, title, help].some((each) => each.toLowerCase().includes(wanted)),
  );
  const groups = [...new Set(shown.map(({ group }) => group))];
  const inGroup = (group: string): readonly Setting[] => shown.filter((setting) => setting.group === group);
  // What is looked for, set or wrong is in sight.
  const isFolded = ({ path, isRare = false, isSet, problem }: Setting): boolean =>
    isRare && !isSet && problem === undefined && wanted === '' && faultAt !== path;
  const show = (setting: Setting): ReactNode => (
    <SettingField
      key={setting.path}
      setting={setting}
      draft={drafts[setting.path]}
      onChange={(draft) => change(setting, draft)}
      problem={failure !== undefined && faultAt === setting.path ? sayFailure(failure) : undefined}
    />
  );
  return (
    <Form
      className="stack wide"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <div ref={top} />
      <div className="settings-top">
        <SearchField
          label={text('settings.search')}
          placeholder={text('settings.search-hint')}
          value={search}
          onChange={(typed) => {
            onSearch(typed);
            // What is found begins above what was being looked at.
            if ((top.current?.getBoundingClientRect().top ?? 0) < 0) top.current?.scrollIntoView();
          }}
        />
        {groups.length > 1 && <Sections groups={groups} />}
      </div>
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
          <Fields id={sectionId(group)} settings={inGroup(group).filter((setting) => !isFolded(setting))} show={show} />
          {inGroup(group).some(isFolded) && (
            <Details summary={text('settings.rare', { count: inGroup(group).filter(isFolded).length })}>
              <Fields settings={inGroup(group).filter(isFolded)} show={show} />
            </Details>
          )}
        </Card>
      ))}
      {changed.length > 0 && (
        <div className="save-bar">
          {failure !== undefined && !isFaultShown && (
            <Notice tone="bad" isLive>
              {sayFailure(failure)}
            </Notice>
          )}
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
                setFormer({});
                save.reset();
              }}
            >
              {text('settings.discard')}
            </Button>
            <Button type="submit" kind="primary" isBusy={save.isRunning} isDisabled={wrong > 0}>
              {text('common.save')}
            </Button>
          </div>
        </div>
      )}
    </Form>
  );
}

function Fields({
  id,
  settings,
  show,
}: {
  id?: string;
  settings: readonly Setting[];
  show: (setting: Setting) => ReactNode;
}): ReactNode {
  return (
    <ul className="settings" {...(id === undefined ? {} : { id })}>
      {settings.map((setting) => show(setting))}
    </ul>
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

/** Looks anew where the server says that somebody else was quicker; saving again is then meant. */
function useStale(failure: Failure | undefined, path: string | undefined, onStale: (path: string) => void): void {
  const latest = useRef(onStale);
  useEffect(() => {
    latest.current = onStale;
  });
  useEffect(() => {
    if (failure instanceof Refusal && failure.status === 409 && path !== undefined) latest.current(path);
  }, [failure, path]);
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
