import type { ReactNode } from 'react';
import { Page } from '../../components/page.tsx';
import { RestartNotice } from '../../components/restart.tsx';
import { text } from '../../strings/text.ts';
import { MediaList } from './media-list.tsx';
import { Summary } from './summary.tsx';

/** Pictures and files, and what they take. */
export function MediaPage(): ReactNode {
  return (
    <Page title={text('media.title')} lead={text('media.lead')}>
      <RestartNotice />
      <Summary />
      <MediaList />
    </Page>
  );
}
