import type { ReactNode } from 'react';
import { useCall } from '../../api/calls.ts';
import { SubNav } from '../../components/sub-nav.tsx';
import { text } from '../../strings/text.ts';

/** Nobody tells when an invite comes from another server. */
const EVERY_MS = 30_000;

/** People, how new ones come, and who else knocks. */
export function PeopleNav({ current }: { current: 'people' | 'invitations' | 'strangers' }): ReactNode {
  const strangers = useCall('GET /stranger-invites', {}, { everyMs: EVERY_MS }).data?.invites.length;
  return (
    <SubNav
      label={text('people.pages')}
      pages={[
        { href: '#/people', title: text('people.tab'), isCurrent: current === 'people' },
        { href: '#/people/invitations', title: text('people.tab-invitations'), isCurrent: current === 'invitations' },
        {
          href: '#/people/strangers',
          title: text('people.tab-strangers'),
          isCurrent: current === 'strangers',
          count: strangers,
        },
      ]}
    />
  );
}
