import type { ReactNode } from 'react';
import type { Person } from '../../../server/appliance/contract.ts';
import { Badge } from '../../components/page.tsx';
import { linkTo } from '../../models/place.ts';
import { text } from '../../strings/text.ts';

/** What somebody is called: their name, or the first part of their address. */
export function nameOf({ userId, displayName }: Pick<Person, 'userId' | 'displayName'>): string {
  const name = displayName?.trim() ?? '';
  return name === '' ? (/^@([^:]+)/.exec(userId)?.[1] ?? userId) : name;
}

/** The first letter of a name, for the eye. */
export function Avatar({ name, isSquare = false }: { name: string; isSquare?: boolean }): ReactNode {
  const [letter = '?'] = name.replace(/^[@#!]/, '');
  return (
    <span className={`avatar ${isSquare ? 'square' : ''}`} aria-hidden>
      {letter.toLocaleUpperCase()}
    </span>
  );
}

export function Who({ person }: { person: Person }): ReactNode {
  const name = nameOf(person);
  return (
    <div className="who">
      <Avatar name={name} />
      <div className="who-names">
        <a href={linkTo('people', person.userId)}>{name}</a>
        <span className="muted small break">{person.userId}</span>
        <PersonBadges person={person} />
      </div>
    </div>
  );
}

export function PersonBadges({ person }: { person: Person }): ReactNode {
  const { isAdmin, isLocked, isDeactivated, isGuest, appservice } = person;
  if (!isAdmin && !isLocked && !isDeactivated && !isGuest && appservice === undefined) return null;
  return (
    <span className="badges">
      {isAdmin && (
        <Badge tone="calm" icon="key">
          {text('people.is-admin')}
        </Badge>
      )}
      {isLocked && !isDeactivated && (
        <Badge tone="warning" icon="lock">
          {text('people.is-locked')}
        </Badge>
      )}
      {isDeactivated && <Badge icon="skipped">{text('people.is-closed')}</Badge>}
      {appservice !== undefined && <Badge>{text('people.is-bridged', { name: appservice })}</Badge>}
      {isGuest && <Badge>{text('people.is-guest')}</Badge>}
    </span>
  );
}
