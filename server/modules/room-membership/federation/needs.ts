import type { RateLimit } from '../../../http/rate-limit.ts';
import type { FederationClient, KeyRing } from '../../../federation/types.ts';
import type { ServerName, UserId } from '../../../matrix/identifiers.ts';
import type { SigningKey } from '../../../matrix/signing.ts';
import type { Forwarder, GraphReader, OutsideMembership, ServerAcls } from '../../../rooms/federation-types.ts';
import type { Acceptance } from '../../../rooms/inbox.ts';
import type { PduTexts } from '../../../rooms/pdu-texts.ts';
import type { EventTemplates } from '../../../rooms/templates.ts';
import type { MembershipReader, PersistedEvent, StateReader } from '../../../rooms/types.ts';
import type { WriteTx } from '../../../storage/types.ts';
import type { Membership } from '../service/membership.ts';
import type { MembershipNeeds } from '../service/needs.ts';

/** Where an event that another server made enters the room. */
export interface RoomInbox {
  accept(
    pdu: unknown,
    options: {
      /** Its signatures were checked. */
      readonly verified?: true;
      /** Runs in the transaction that stores the event, whatever its verdict. */
      readonly alongside?: (tx: WriteTx, event: PersistedEvent) => void;
    },
  ): Promise<Acceptance>;
}

/** What memberships over federation take beyond those of this server's own users. */
export interface MembershipFederationNeeds {
  /** Invites of our users, and joins that ours vouch for, are signed with it. */
  readonly signingKey: SigningKey;
  readonly client: Pick<FederationClient, 'request'>;
  readonly keyRing: KeyRing;
  readonly acls: ServerAcls;
  readonly inbox: RoomInbox;
  readonly graph: Pick<GraphReader, 'gatherAuthChain'>;
  readonly forwarder: Forwarder;
  readonly outside: Pick<OutsideMembership, 'put'>;
  readonly templates: Pick<EventTemplates, 'build'>;
  readonly pduTexts: Pick<PduTexts, 'list' | 'stateBefore'>;
  readonly state: Pick<StateReader, 'findCurrent' | 'currentState' | 'stateBefore'>;
  readonly members: Pick<MembershipReader, 'listStrippedState'>;
  readonly users: { exists(userId: UserId): boolean; isDeactivated(userId: UserId): boolean };
  /** Reports of identity servers, by the address they come from: anybody can make one up. */
  readonly bindLimit: RateLimit;
  /**
   * Refuse invites to rooms of version 12 and later whose state is not told in events whose signatures can be checked, as
   * the spec recommends; see `invite-state.ts`.
   */
  readonly strictInviteState?: boolean | undefined;
}

/** All that the parts of this folder draw upon. */
export interface FederationParts {
  readonly needs: MembershipNeeds;
  readonly federation: MembershipFederationNeeds;
  readonly membership: Pick<Membership, 'authoriseJoin'>;
}

/** What a server tells about an event that it hands in. */
export interface Submission {
  readonly origin: ServerName;
  /** As the path has them. */
  readonly roomId: string;
  readonly eventId: string;
}
