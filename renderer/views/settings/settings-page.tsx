import { type ReactNode, useState } from 'react';
import type { Settings } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { folderOpener } from '../../api/bridge.ts';
import { Button } from '../../components/button.tsx';
import { Card, Loaded, Notice, Page } from '../../components/page.tsx';
import { RestartNotice } from '../../components/restart.tsx';
import { text } from '../../strings/text.ts';
import { SettingsForm } from './settings-form.tsx';

/** All options that matter, drawn from what the server says of them. */
export function SettingsPage(): ReactNode {
  const read = useCall('GET /settings');
  return (
    <Page
      title={text('settings.title')}
      {...(read.data === undefined
        ? {}
        : { lead: <span className="break">{text('settings.lead', { file: read.data.file })}</span> })}
    >
      <RestartNotice />
      <Loaded read={read} lines={10}>
        {(settings) => <All settings={settings} onStale={() => void read.refetch()} />}
      </Loaded>
    </Page>
  );
}

function All({ settings: { settings, problems }, onStale }: { settings: Settings; onStale: () => void }): ReactNode {
  const [search, setSearch] = useState('');
  return (
    <>
      {problems.length > 0 && <Problems problems={problems} />}
      <SettingsForm settings={settings} search={search} onSearch={setSearch} onStale={onStale} />
    </>
  );
}

function Problems({ problems }: { problems: readonly string[] }): ReactNode {
  const open = folderOpener();
  return (
    <Card>
      <Notice
        tone="bad"
        title={text('settings.problems')}
        isLive
        {...(open === undefined
          ? {}
          : {
              actions: (
                <Button size="small" icon="folder" onPress={() => open('data')}>
                  {text('settings.problems-open')}
                </Button>
              ),
            })}
      >
        <p>{text('settings.problems-text')}</p>
        <ul className="dots mono small">
          {problems.map((problem) => (
            <li key={problem}>{problem}</li>
          ))}
        </ul>
      </Notice>
    </Card>
  );
}
