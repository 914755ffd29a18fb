import { type ReactNode, useState } from 'react';
import { useLocation } from 'wouter';
import type { Person } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { Button, ButtonLink } from '../../components/button.tsx';
import { type Column, DataTable } from '../../components/data-table.tsx';
import { CheckboxField, SearchField } from '../../components/fields.tsx';
import { MenuButton } from '../../components/menu.tsx';
import { Card, EmptyState, Loaded, Page } from '../../components/page.tsx';
import { Ago } from '../../components/time.tsx';
import { formatBytes } from '../../models/format.ts';
import { linkTo, partsAfter } from '../../models/place.ts';
import { text } from '../../strings/text.ts';
import { InvitationsPage } from '../invitations/invitations-page.tsx';
import { StrangersPage } from '../strangers/strangers-page.tsx';
import { PeopleNav } from './people-nav.tsx';
import { PasswordDialog } from './password-dialog.tsx';
import { PersonPage } from './person-page.tsx';
import { nameOf, Who } from './who.tsx';

/** Nobody tells when somebody has signed in with an app. */
const EVERY_MS = 20_000;

/** People, one of them, the invitations, and what strangers sent. */
export function PeoplePage(): ReactNode {
  const [location] = useLocation();
  const [place] = partsAfter(location);
  if (place === 'invitations' || location.startsWith('/invitations')) return <InvitationsPage />;
  if (place === 'strangers') return <StrangersPage />;
  if (place !== undefined) return <PersonPage key={place} userId={place} />;
  return <People />;
}

function People(): ReactNode {
  const [search, setSearch] = useState('');
  const [withClosed, setWithClosed] = useState(false);
  const query = { ...(search === '' ? {} : { search }), ...(withClosed ? {} : { deactivated: false }) };
  const read = useCall('GET /people', { query }, { keepsFormer: true, everyMs: EVERY_MS });
  return (
    <Page
      title={text('people.title')}
      lead={text('people.lead')}
      actions={
        <ButtonLink kind="primary" icon="plus" href="#/people/invitations/new">
          {text('people.add')}
        </ButtonLink>
      }
    >
      <PeopleNav current="people" />
      <Card>
        <div className="tools">
          <SearchField
            label={text('people.search')}
            placeholder={text('people.search-hint')}
            value={search}
            onChange={setSearch}
          />
          <CheckboxField label={text('people.with-closed')} value={withClosed} onChange={setWithClosed} />
        </div>
        <Loaded read={read} lines={6}>
          {({ people }) =>
            people.length > 0 ? (
              <PeopleTable people={people} />
            ) : search !== '' ? (
              <EmptyState
                icon="search"
                title={text('search.none')}
                action={<Button onPress={() => setSearch('')}>{text('search.clear')}</Button>}
              >
                {text('search.none-text', { search })}
              </EmptyState>
            ) : (
              <EmptyState
                icon="people"
                title={text('people.none')}
                action={<ButtonLink href="#/people/invitations/new">{text('people.add')}</ButtonLink>}
              >
                {text('people.none-text')}
              </EmptyState>
            )
          }
        </Loaded>
      </Card>
    </Page>
  );
}

const COLUMNS: readonly Column<Person>[] = [
  { id: 'name', title: text('people.name'), isLead: true, sortBy: nameOf, show: (person) => <Who person={person} /> },
  {
    id: 'seen',
    title: text('people.seen'),
    isRight: true,
    sortBy: ({ lastSeenAt = 0 }) => lastSeenAt,
    show: ({ lastSeenAt }) => <Ago at={lastSeenAt} none={text('common.never')} />,
  },
  {
    id: 'devices',
    title: text('people.devices'),
    isRight: true,
    sortBy: ({ devices }) => devices,
    show: ({ devices }) => devices,
  },
  {
    id: 'media',
    title: text('people.media'),
    isRight: true,
    sortBy: ({ mediaBytes }) => mediaBytes,
    show: ({ mediaBytes }) => formatBytes(mediaBytes),
  },
];

function PeopleTable({ people }: { people: readonly Person[] }): ReactNode {
  const [, go] = useLocation();
  const [reset, setReset] = useState<Person>();
  const actions: Column<Person> = {
    id: 'actions',
    title: text('people.actions'),
    isTitleHidden: true,
    isRight: true,
    show: (person) => (
      <MenuButton
        label={text('people.actions-for', { name: nameOf(person) })}
        actions={[
          {
            id: 'open',
            title: text('person.open'),
            icon: 'person',
            onPress: () => go(linkTo('people', person.userId).slice(1)),
          },
          {
            id: 'password',
            title: text('password.reset'),
            icon: 'key',
            isDisabled: person.isDeactivated || person.isGuest,
            onPress: () => setReset(person),
          },
        ]}
      />
    ),
  };
  return (
    <>
      <DataTable
        label={text('people.title')}
        columns={[...COLUMNS, actions]}
        rows={people}
        keyOf={({ userId }) => userId}
      />
      {reset !== undefined && <PasswordDialog person={reset} onClose={() => setReset(undefined)} />}
    </>
  );
}
