import type { RoomId, UserId } from '../matrix/identifiers.ts';

/** A filter on events (spec: client-server API, "Filtering"). */
export interface EventFilter {
  readonly limit?: number;
  readonly types?: readonly string[];
  readonly notTypes?: readonly string[];
  readonly senders?: readonly UserId[];
  readonly notSenders?: readonly UserId[];
}
/** A filter on the events of rooms. */
export interface RoomEventFilter extends EventFilter {
  readonly rooms?: readonly RoomId[];
  readonly notRooms?: readonly RoomId[];
  readonly containsUrl?: boolean;
  readonly lazyLoadMembers?: boolean;
  readonly includeRedundantMembers?: boolean;
  readonly unreadThreadNotifications?: boolean;
  readonly relatedBySenders?: readonly UserId[];
  readonly relatedByRelTypes?: readonly string[];
}
/** A whole filter, read and checked. */
export interface SyncFilter {
  readonly eventFields?: readonly string[];
  readonly eventFormat: 'client' | 'federation';
  readonly presence: EventFilter;
  readonly accountData: EventFilter;
  readonly room: {
    readonly rooms?: readonly RoomId[];
    readonly notRooms?: readonly RoomId[];
    readonly includeLeave: boolean;
    readonly timeline: RoomEventFilter;
    readonly state: RoomEventFilter;
    readonly ephemeral: RoomEventFilter;
    readonly accountData: RoomEventFilter;
  };
}
