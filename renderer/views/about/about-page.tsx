import type { ReactNode } from 'react';
import type { About } from '../../../server/appliance/contract.ts';
import { folderOpener } from '../../api/bridge.ts';
import { useCall } from '../../api/calls.ts';
import { useShell } from '../../api/shell.ts';
import { Button } from '../../components/button.tsx';
import { CopyIcon } from '../../components/copy.tsx';
import { Card, Facts, Loaded, Page } from '../../components/page.tsx';
import { text } from '../../strings/text.ts';
import { ShellSettings } from './shell-settings.tsx';
import { Updates } from './updates.tsx';

/** What this program is, where its things are, and how it stays new. */
export function AboutPage(): ReactNode {
  const read = useCall('GET /about');
  const shell = useShell();
  return (
    <Page
      title={text('about.title')}
      {...(read.data === undefined ? {} : { lead: text('about.lead', { version: read.data.version }) })}
    >
      <Updates shell={shell} />
      {shell !== undefined && <ShellSettings shell={shell} />}
      <Loaded read={read} lines={8}>
        {(about) => <Program about={about} />}
      </Loaded>
    </Page>
  );
}

function Program({ about }: { about: About }): ReactNode {
  const { version, node, platform, dataDirectory, configFile, specVersions, roomVersions } = about;
  const open = folderOpener();
  return (
    <>
      <Card title={text('about.program')}>
        <Facts
          facts={[
            [text('about.version'), version],
            [text('about.node'), node],
            [text('about.platform'), platform],
            [text('about.data'), <Place key="data" path={dataDirectory} what={text('about.data')} />],
            [text('about.config'), <Place key="config" path={configFile} what={text('about.config')} />],
          ]}
        />
        {open !== undefined && (
          <div className="row tight">
            {(['data', 'logs', 'backups'] as const).map((which) => (
              <Button key={which} icon="folder" onPress={() => open(which)}>
                {text(`about.open-${which}`)}
              </Button>
            ))}
          </div>
        )}
      </Card>
      <Card title={text('about.matrix')}>
        <Facts
          facts={[
            [text('about.spec'), specVersions.join(', ')],
            [text('about.rooms'), roomVersions.join(', ')],
          ]}
        />
      </Card>
    </>
  );
}

function Place({ path, what }: { path: string; what: string }): ReactNode {
  return (
    <span className="row tight">
      <code className="break">{path}</code>
      <CopyIcon value={path} what={what} />
    </span>
  );
}
