import type { Requester } from '../../../http/route.ts';
import { badJson, forbidden, MatrixError, notFound, tooLarge, unknownError } from '../../../matrix/errors.ts';
import { isEventId, type DeviceId, type EventId, type RoomId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { EventDraft, PersistedEvent, SendOptions } from '../../../rooms/types.ts';
import type { WriteTx } from '../../../storage/types.ts';
import { checkMessageContent, checkStateContent } from './content.ts';
import type { RoomEventsNeeds } from './needs.ts';

/** What a request to send has in common with others. */
interface SendRequest {
  readonly requester: Requester;
  readonly roomId: RoomId;
  readonly content: JsonObject;
  /** When it happened (ms); heeded only from application services. */
  readonly ts?: number | undefined;
  /** Runs in the write that stores the event. A change of membership takes nothing along. */
  readonly alongside?: ((tx: WriteTx, event: PersistedEvent) => void) | undefined;
}

export interface MessageRequest extends SendRequest {
  readonly type: string;
  /** Undefined only for a deprecated operation that had none. */
  readonly transactionId: string | undefined;
}

export interface StateRequest extends SendRequest {
  readonly type: string;
  readonly stateKey: string;
}

export interface RedactionRequest extends SendRequest {
  readonly target: EventId;
  readonly transactionId: string | undefined;
}

/** An event to be sent later, a message or (with a state key) state. */
export interface DelayedRequest extends Omit<SendRequest, 'alongside'> {
  readonly type: string;
  readonly stateKey: string | undefined;
  readonly transactionId: string | undefined;
  readonly delayMs: number;
}

/** Sending as a client does it. Each gives the ID of the event, all throw MatrixError. */
export interface Sending {
  sendMessage(request: MessageRequest): Promise<EventId>;
  sendState(request: StateRequest): Promise<EventId>;
  redact(request: RedactionRequest): Promise<EventId>;
  /** A message, or (with a state key) state. */
  sendAs(request: SendRequest & { readonly type: string; readonly stateKey: string | undefined }): Promise<EventId>;
  /** Has it sent later (MSC4140), when it is seen whether the sender may. Gives the delay ID. */
  schedule(request: DelayedRequest): string;
}

/** The longest content that is kept for later, in bytes: it would not fit into an event. */
const MAX_CONTENT_BYTES = 65_536;

const REDACTION = 'm.room.redaction';
const MEMBER = 'm.room.member';

export function sending(needs: RoomEventsNeeds): Sending {
  const { events, members, relations, limits, serverName, state } = needs;

  const checkJoined = ({ requester, roomId }: SendRequest): void => {
    // The same for a room that is not known: whether it exists is nobody's business outside.
    if (!members.isJoined(roomId, requester.userId)) throw forbidden('You are not in this room');
  };

  /** Spec: client-server API, "Account suspension". */
  const checkNotSuspended = ({ requester, roomId }: SendRequest): void => {
    if (!requester.isSuspended || needs.isServerNoticesRoom?.(requester.userId, roomId) === true) return;
    throw new MatrixError('M_USER_SUSPENDED', 'You cannot do this while your account is suspended');
  };

  const post = async (draft: EventDraft, request: SendRequest, transactionId?: string): Promise<EventId> => {
    const { requester, ts, alongside } = request;
    const options: SendOptions = {
      alongside: (tx, event) => {
        relations.checkStored(event);
        alongside?.(tx, event);
      },
      ...(transactionId === undefined ? {} : { transaction: { deviceId: senderDevice(requester), transactionId } }),
    };
    const originServerTs = requester.appserviceId === undefined ? undefined : ts;
    const event = await needs.sender.send({ ...draft, originServerTs }, options);
    return event.eventId;
  };

  const redact: Sending['redact'] = async (request) => {
    const { requester, roomId, target: targetId, content, transactionId } = request;
    const target = events.findEvent(targetId);
    const isOwn = target?.sender === requester.userId;
    if (!isOwn) checkNotSuspended(request);
    checkJoined(request);
    if (target === undefined) throw notFound('The event to redact is not known');
    if (target.roomId !== roomId) throw unknownError('The event to redact is in another room');
    // Without these the room itself would break (spec: "m.room.redaction"; the rules keep nothing of an ACL).
    if (target.stateKey !== undefined && UNREDACTABLE.has(target.type)) {
      throw forbidden(`${target.type} cannot be redacted`);
    }
    if (content['reason'] !== undefined && typeof content['reason'] !== 'string') {
      throw badJson('The key reason must be text');
    }
    const limit = isOwn ? limits.message : (limits.adminRedaction ?? limits.message);
    limit.checkFor(requester, requester.userId);
    const { redacts: _, ...rest } = content;
    const draft = { roomId, type: REDACTION, sender: requester.userId, content: rest, redacts: targetId };
    return post(draft, request, transactionId);
  };

  const sendMessage: Sending['sendMessage'] = async (request) => {
    const { requester, roomId, type, content, transactionId } = request;
    if (type === REDACTION) {
      return redact({ ...request, target: redactionTarget(content) });
    }
    checkNotSuspended(request);
    checkJoined(request);
    checkMessageContent(type, content);
    relations.check({ roomId, content });
    limits.message.checkFor(requester, requester.userId);
    return post({ roomId, type, sender: requester.userId, content }, request, transactionId);
  };

  const sendState: Sending['sendState'] = async (request) => {
    const { requester, roomId, type, stateKey, content, ts } = request;
    if (type === MEMBER) {
      const times = requester.appserviceId === undefined || ts === undefined ? {} : { originServerTs: ts };
      return (await needs.membership.applyMemberState(requester, roomId, stateKey, content, times)).eventId;
    }
    // Its effect would be that of a redaction, past what is asked of one.
    if (type === REDACTION) throw badJson('A redaction is no state');
    checkNotSuspended(request);
    checkJoined(request);
    checkStateContent(type, stateKey, content, { serverName, roomId });
    relations.check({ roomId, content });
    if (type === 'm.room.canonical_alias' && stateKey === '') {
      const previous = state.findCurrent(roomId, type, stateKey)?.content;
      await needs.aliases.checkCanonicalAlias(roomId, content, previous);
    }
    limits.message.checkFor(requester, requester.userId);
    return post({ roomId, type, stateKey, sender: requester.userId, content }, request);
  };

  return {
    redact,
    sendMessage,
    sendState,

    sendAs: ({ stateKey, ...request }) =>
      stateKey === undefined
        ? sendMessage({ ...request, transactionId: undefined })
        : sendState({ ...request, stateKey }),

    schedule: (request) => {
      const { requester, roomId, type, stateKey, content, transactionId, delayMs, ts } = request;
      if (needs.delayed === undefined) throw forbidden('This server sends nothing later');
      checkNotSuspended(request);
      checkJoined(request);
      if (type === REDACTION) {
        if (stateKey !== undefined) throw badJson('A redaction is no state');
        redactionTarget(content);
      } else if (stateKey === undefined) {
        checkMessageContent(type, content);
      } else if (type === MEMBER) {
        if (typeof content['membership'] !== 'string') throw badJson('The key membership must be text');
      } else {
        checkStateContent(type, stateKey, content, { serverName, roomId });
      }
      if (Buffer.byteLength(JSON.stringify(content)) > MAX_CONTENT_BYTES)
        throw tooLarge('The content fits into no event');
      limits.message.checkFor(requester, requester.userId);
      return needs.delayed.schedule({
        userId: requester.userId,
        deviceId: requester.deviceId,
        appserviceId: requester.appserviceId,
        transactionId,
        roomId,
        type,
        stateKey,
        originServerTs: requester.appserviceId === undefined ? undefined : ts,
        content,
        delayMs,
      });
    },
  };
}

/** The room's version decides where the target goes, wherever the client has put it. */
function redactionTarget({ redacts: target }: JsonObject): EventId {
  if (typeof target !== 'string' || !isEventId(target)) throw badJson('A redaction needs the key redacts');
  return target;
}

const UNREDACTABLE: ReadonlySet<string> = new Set(['m.room.create', 'm.room.server_acl']);

/** Whose transactions they are. An application service may speak without a device, and then has some in common. */
function senderDevice({ deviceId, appserviceId }: Requester): DeviceId {
  return deviceId ?? (`appservice ${appserviceId}` as DeviceId);
}
