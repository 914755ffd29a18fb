import type { ReactNode } from 'react';
import type { PageId } from './pages.ts';
import { ReachPage } from './reach/reach-page.tsx';
import { StatusPage } from './status/status-page.tsx';
import { AboutPage } from './about/about-page.tsx';
import { BackupsPage } from './backups/backups-page.tsx';
import { CallsPage } from './calls/calls-page.tsx';
import { LogsPage } from './logs/logs-page.tsx';
import { MediaPage } from './media/media-page.tsx';
import { PeoplePage } from './people/people-page.tsx';
import { RegistrationPage } from './registration/registration-page.tsx';
import { RoomsPage } from './rooms/rooms-page.tsx';
import { SettingsPage } from './settings/settings-page.tsx';

/** What each page shows. */
export const pageViews: Readonly<Record<PageId, () => ReactNode>> = {
  status: StatusPage,
  reach: ReachPage,
  about: AboutPage,
  backups: BackupsPage,
  calls: CallsPage,
  logs: LogsPage,
  media: MediaPage,
  people: PeoplePage,
  registration: RegistrationPage,
  rooms: RoomsPage,
  settings: SettingsPage,
};
