import type { ReactNode } from 'react';
import type { RoomSummary } from '../../../server/appliance/contract.ts';
import { Badge } from '../../components/page.tsx';
import { text } from '../../strings/text.ts';

export function roomName({ name, alias }: Pick<RoomSummary, 'name' | 'alias'>): string {
  return name.trim() === '' ? (alias ?? text('rooms.unnamed')) : name;
}

export function RoomBadges({ room }: { room: RoomSummary }): ReactNode {
  const { isEncrypted, isDirect, isSpace = false, isBlocked, localMembers } = room;
  if (!isEncrypted && !isDirect && !isSpace && !isBlocked && localMembers > 0) return null;
  return (
    <span className="badges">
      {isSpace && <Badge icon="rooms">{text('rooms.space')}</Badge>}
      {isEncrypted && <Badge icon="lock">{text('rooms.encrypted')}</Badge>}
      {isDirect && <Badge icon="person">{text('rooms.direct')}</Badge>}
      {localMembers === 0 && room.version !== '' && <Badge tone="warning">{text('rooms.empty-of-us')}</Badge>}
      {isBlocked && (
        <Badge tone="bad" icon="skipped">
          {text('rooms.blocked')}
        </Badge>
      )}
    </span>
  );
}
