import { type ReactNode, useState } from 'react';
import { useLocation } from 'wouter';
import type { PeoplePage as PeoplePageOf, Person, PersonKind } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { Button, ButtonLink } from '../../components/button.tsx';
import { type Column, DataTable } from '../../components/data-table.tsx';
import { CheckboxField, SearchField, Segments } from '../../components/fields.tsx';
import { MenuButton } from '../../components/menu.tsx';
import { Card, EmptyState, Loaded, Page } from '../../components/page.tsx';
import { Pager } from '../../components/pager.tsx';
import { Ago } from '../../components/time.tsx';
import { formatBytes } from '../../models/format.ts';
import { linkTo, partsAfter } from '../../models/place.ts';
import { text } from '../../strings/text.ts';
import { ConnectButton } from '../connect/connect-button.tsx';
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
  const [kind, setKind] = useState<PersonKind>('person');
  const [from, setFrom] = useState(0);
  const query = {
    kind,
    from,
    limit: PAGE_SIZE,
    ...(search === '' ? {} : { search }),
    ...(withClosed ? {} : { deactivated: false }),
  };
  const read = useCall('GET /people', { query }, { keepsFormer: true, everyMs: EVERY_MS });
  return (
    <Page
      title={text('people.title')}
      lead={text('people.lead')}
      actions={
        <>
          <ConnectButton />
          <ButtonLink kind="primary" icon="plus" href="#/people/invitations/new">
            {text('people.add')}
          </ButtonLink>
        </>
      }
    >
      <PeopleNav current="people" />
      <Card>
        <div className="tools">
          <SearchField
            label={text('people.search')}
            placeholder={text('people.search-hint')}
            value={search}
            onChange={(wanted) => {
              setSearch(wanted);
              setFrom(0);
            }}
          />
          <CheckboxField
            label={text('people.with-closed')}
            value={withClosed}
            onChange={(isOn) => {
              setWithClosed(isOn);
              setFrom(0);
            }}
          />
          <Kinds
            counts={read.data?.counts}
            kind={kind}
            onChange={(chosen) => {
              setKind(chosen);
              setFrom(0);
            }}
          />
        </div>
        <Loaded read={read} lines={6}>
          {({ people, total, next }) =>
            people.length > 0 || from > 0 ? (
              <>
                <PeopleTable people={people} />
                <Pager
                  from={from}
                  shown={people.length}
                  total={total}
                  next={next}
                  onChange={setFrom}
                  size={PAGE_SIZE}
                />
              </>
            ) : search !== '' ? (
              <EmptyState
                icon="search"
                title={text('search.none')}
                action={<Button onPress={() => setSearch('')}>{text('search.clear')}</Button>}
              >
                {text('search.none-text', { search })}
              </EmptyState>
            ) : kind !== 'person' ? (
              <EmptyState icon="people" title={text('people.none-such')}>
                {text('people.none-such-text')}
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

const PAGE_SIZE = 200;
const KINDS: readonly PersonKind[] = ['person', 'guest', 'bridged'];

/** Guests and those that bridges made stand apart, where there are any. */
function Kinds({
  counts,
  kind,
  onChange,
}: {
  counts: PeoplePageOf['counts'] | undefined;
  kind: PersonKind;
  onChange: (kind: PersonKind) => void;
}): ReactNode {
  const shown = KINDS.filter((each) => each === 'person' || each === kind || (counts?.[each] ?? 0) > 0);
  if (shown.length === 1) return null;
  return (
    <Segments<PersonKind>
      label={text('people.kinds')}
      value={kind}
      choices={shown.map((id) => ({ id, title: text(`people.kind-${id}`, { count: counts?.[id] ?? 0 }) }))}
      onChange={onChange}
    />
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
            isDisabled: person.isDeactivated || person.isGuest || person.appservice !== undefined,
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
