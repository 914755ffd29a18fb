import type { FederationClient, KeyRing, PduTaker } from '../../federation/types.ts';
import type { RoomEvent } from '../../matrix/events/event.ts';
import type { ServerName } from '../../matrix/identifiers.ts';
import type { Clock } from '../../util/clock.ts';
import type { OutlierStore, OutsideMembership, ServerAcls } from '../federation-types.ts';
import { GapFiller } from '../gather-remote.ts';
import { type CheckSignatures, Inbox } from '../inbox.ts';
import { PeerRequests } from '../peer-requests.ts';
import type { MembershipReader } from '../types.ts';
import type { AdmitterParts } from './admission.ts';
import { RoomLines } from './lines.ts';
import { Staging } from './staging.ts';
import { TransactionTaker } from './taker.ts';

interface InboundParts extends Omit<AdmitterParts, 'onPlaced'> {
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly members: Pick<MembershipReader, 'listLocalJoined' | 'listServers' | 'findMember'>;
  readonly acls: ServerAcls;
  readonly outside: OutsideMembership;
  /** Instead of the key ring. Without either, no event of another server is taken. */
  readonly checkSignatures?: CheckSignatures | undefined;
  /** Other servers; without them, gaps stay open. */
  readonly remote?:
    | {
        readonly client: FederationClient;
        readonly keyRing: Pick<KeyRing, 'checkEvents'>;
        readonly outliers: OutlierStore;
      }
    | undefined;
}

/** Where events of other servers enter, one by one or by transactions. */
export interface Inbound {
  readonly inbox: Inbox;
  readonly taker: PduTaker;
  readonly lines: Pick<RoomLines, 'start' | 'stop' | 'idle'>;
}

/** Puts the inbound road together. */
export function createInbound(parts: InboundParts): Inbound {
  const { db, policy, remote } = parts;
  const keyRing = checksOf(parts);
  const staging = new Staging(db);
  const inbox = new Inbox({
    ...parts,
    onPlaced: (tx, event) => lines.placed(tx, event),
    checkSignatures: async (event) => (await keyRing.checkEvents([event]))[0] === true,
  });
  const admit: Inbox['admit'] = (event, options) => inbox.admit(event, options);
  const gaps =
    remote === undefined
      ? undefined
      : new GapFiller({
          ...parts,
          keyRing,
          peers: new PeerRequests(remote.client),
          outliers: remote.outliers,
          admit,
        });
  const foresee = (event: RoomEvent): void => {
    // It never fails, and its answer is kept until it is wanted.
    if (policy?.isEnabled(event.roomId) === true) void policy.ask(event);
  };
  const lines = new RoomLines({ ...parts, staging, admitter: inbox.admitter, admit, gaps, foresee });
  const taker = new TransactionTaker({ ...parts, keyRing, staging, lines });
  return { inbox, taker, lines };
}

function checksOf({ checkSignatures, remote }: InboundParts): Pick<KeyRing, 'checkEvents'> {
  if (checkSignatures === undefined) {
    return remote?.keyRing ?? { checkEvents: (events) => Promise.resolve(events.map(() => false)) };
  }
  return {
    checkEvents: (events: readonly RoomEvent[]) => Promise.all(events.map(async (event) => checkSignatures(event))),
  };
}
