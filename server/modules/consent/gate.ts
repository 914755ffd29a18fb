import type { UserId } from '../../matrix/identifiers.ts';
import type { EventDraft, EventSender } from '../../rooms/types.ts';

/** What may be done without consent: to go. */
function isDeparture({ type, sender, stateKey, content }: EventDraft): boolean {
  return type === 'm.room.member' && content['membership'] === 'leave' && stateKey === sender;
}

/** A sender of events that first asks whether the user has agreed to the policy; `check` throws if not. */
export function withConsent(sender: EventSender, check: (userId: UserId) => void): EventSender {
  return {
    send: async (draft, options) => {
      if (!isDeparture(draft)) check(draft.sender);
      return sender.send(draft, options);
    },
    sendWithin: (tx, draft) => {
      if (!isDeparture(draft)) check(draft.sender);
      return sender.sendWithin(tx, draft);
    },
    createRoom: async (options) => {
      check(options.creator);
      return sender.createRoom(options);
    },
    findTransactionId: (event, deviceId) => sender.findTransactionId(event, deviceId),
  };
}

/** The same for the ways into rooms of other servers. */
export function joiningWithConsent<Entry extends { readonly userId: UserId }, Exit, Invite>(
  remote: {
    join(change: Entry): Promise<void>;
    knock(change: Entry): Promise<void>;
    leave(change: Exit): Promise<void>;
    invite(change: Invite): Promise<void>;
  },
  check: (userId: UserId) => void,
): typeof remote {
  return {
    join: async (change) => {
      check(change.userId);
      await remote.join(change);
    },
    knock: async (change) => {
      check(change.userId);
      await remote.knock(change);
    },
    leave: (change) => remote.leave(change),
    invite: (change) => remote.invite(change),
  };
}
