import { setImmediate as nextTurn } from 'node:timers/promises';
import { forbidden, notFound } from '../../matrix/errors.ts';
import type { RoomEvent } from '../../matrix/events/event.ts';
import type { EventId, RoomId, ServerName } from '../../matrix/identifiers.ts';
import type { GraphReader, ServerAcls, ServerVisibility } from '../../rooms/federation-types.ts';
import type { PduTexts } from '../../rooms/pdu-texts.ts';
import type { EventReader, PersistedEvent, Timeline } from '../../rooms/types.ts';
import type { Clock } from '../../util/clock.ts';

export interface EventRetrievalNeeds {
  readonly serverName: ServerName;
  readonly clock: Clock;
  readonly events: Pick<EventReader, 'findRoom' | 'findEvent'>;
  readonly timeline: Pick<Timeline, 'findNearest'>;
  readonly graph: Pick<GraphReader, 'walkAuthChain' | 'listBackwards' | 'listMissing'>;
  readonly texts: Pick<PduTexts, 'list' | 'stateBefore'>;
  readonly acls: ServerAcls;
  readonly visibility: ServerVisibility;
}

/** Events as they go over the wire in answers that are called transactions. */
export interface PduTransaction {
  readonly origin: ServerName;
  readonly origin_server_ts: number;
  readonly pdus: readonly RoomEvent['pdu'][];
}

/** A named list of a large answer, whose elements are made while it is sent. */
export type SlicedList = readonly [name: string, slices: AsyncIterable<readonly string[]>];

/** All of these throw MatrixError: M_FORBIDDEN to who is not in the room, M_NOT_FOUND for what is not known. */
export interface Retrieval {
  /** One event, redacted where the server may only know that there was one. */
  getEvent(origin: ServerName, eventId: EventId): PduTransaction;
  /** The state before an event and its auth chain, as JSON texts. */
  getState(origin: ServerName, roomId: RoomId, eventId: EventId): readonly SlicedList[];
  getStateIds(origin: ServerName, roomId: RoomId, eventId: EventId): readonly SlicedList[];
  getAuthChain(origin: ServerName, roomId: RoomId, eventId: EventId): readonly SlicedList[];
  /** Events going back from some, those included, newest first. What is of other rooms is passed over. */
  listBackwards(origin: ServerName, roomId: RoomId, from: readonly EventId[], limit: number): PduTransaction;
  listMissing(
    origin: ServerName,
    roomId: RoomId,
    options: Parameters<GraphReader['listMissing']>[1],
  ): readonly RoomEvent['pdu'][];
  /** The event nearest to a time (ms) in a direction. */
  getNearest(origin: ServerName, roomId: RoomId, ts: number, direction: 'f' | 'b'): PersistedEvent;
}

/** Events of a state that are read and sent in one go. */
const SLICE = 100;

export function retrieval(needs: EventRetrievalNeeds): Retrieval {
  const { serverName, clock, events, timeline, graph, texts, acls, visibility } = needs;

  const checkAccess = (origin: ServerName, roomId: RoomId): void => {
    if (events.findRoom(roomId) === undefined) throw notFound('This room is not known here');
    if (!acls.isAllowed(origin, roomId)) throw forbidden("The room's access list keeps your server out");
    if (!visibility.isInRoom(origin, roomId)) throw forbidden('Your server is not in this room');
  };

  const transaction = (shown: readonly RoomEvent[]): PduTransaction => ({
    origin: serverName,
    origin_server_ts: clock.now(),
    pdus: shown.map(({ pdu }) => pdu),
  });

  /** An event of the room that counts: rejected ones are as good as unknown. */
  const getOfRoom = (roomId: RoomId, eventId: EventId): PersistedEvent => {
    const event = events.findEvent(eventId);
    if (event === undefined || event.roomId !== roomId || event.verdict === 'rejected') {
      throw notFound('There is no such event in this room');
    }
    return event;
  };

  const getWithState = (origin: ServerName, roomId: RoomId, eventId: EventId): PersistedEvent => {
    checkAccess(origin, roomId);
    const event = getOfRoom(roomId, eventId);
    if (event.outlier) throw notFound('The state at this event is not known here');
    return event;
  };

  // States and auth chains are not shortened by what a server may see of the history: whoever is in the room has to be
  // able to check it.

  async function* walkChain(seeds: Iterable<EventId>): AsyncGenerator<readonly EventId[], void, undefined> {
    for (const ids of graph.walkAuthChain(seeds)) {
      yield ids;
      await nextTurn();
    }
  }

  async function* chainTexts(seeds: Iterable<EventId>): AsyncGenerator<readonly string[], void, undefined> {
    for await (const ids of walkChain(seeds)) {
      for (let at = 0; at < ids.length; at += SLICE) {
        yield texts.list(ids.slice(at, at + SLICE)).map(({ json }) => json);
        await nextTurn();
      }
    }
  }

  async function* chainIds(seeds: Iterable<EventId>): AsyncGenerator<readonly string[], void, undefined> {
    for await (const ids of walkChain(seeds)) yield ids.map((id) => JSON.stringify(id));
  }

  return {
    getEvent: (origin, eventId) => {
      const event = events.findEvent(eventId);
      if (event === undefined || event.verdict === 'rejected') throw notFound('There is no such event');
      checkAccess(origin, event.roomId);
      return transaction(visibility.show(origin, [event]));
    },

    getState: (origin, roomId, eventId) => {
      getWithState(origin, roomId, eventId);
      // The chain is that of the state, which is sent first.
      const state: EventId[] = [];
      async function* stateTexts(): AsyncGenerator<readonly string[], void, undefined> {
        for (const slice of texts.stateBefore(eventId, SLICE)) {
          for (const text of slice) state.push(text.eventId);
          yield slice.map(({ json }) => json);
          await nextTurn();
        }
      }
      return [
        ['pdus', stateTexts()],
        ['auth_chain', chainTexts(state)],
      ];
    },

    getStateIds: (origin, roomId, eventId) => {
      getWithState(origin, roomId, eventId);
      const state: EventId[] = [];
      async function* stateIds(): AsyncGenerator<readonly string[], void, undefined> {
        for (const slice of texts.stateBefore(eventId, SLICE)) {
          for (const text of slice) state.push(text.eventId);
          yield slice.map((text) => JSON.stringify(text.eventId));
          await nextTurn();
        }
      }
      return [
        ['pdu_ids', stateIds()],
        ['auth_chain_ids', chainIds(state)],
      ];
    },

    getAuthChain: (origin, roomId, eventId) => {
      checkAccess(origin, roomId);
      getOfRoom(roomId, eventId);
      return [['auth_chain', chainTexts([eventId])]];
    },

    listBackwards: (origin, roomId, from, limit) => {
      checkAccess(origin, roomId);
      return transaction(visibility.show(origin, graph.listBackwards(roomId, from, limit)));
    },

    listMissing: (origin, roomId, options) => {
      checkAccess(origin, roomId);
      return visibility.show(origin, graph.listMissing(roomId, options)).map(({ pdu }) => pdu);
    },

    getNearest: (origin, roomId, ts, direction) => {
      checkAccess(origin, roomId);
      const event = timeline.findNearest(roomId, ts, direction);
      if (event === undefined)
        throw notFound(`There is no event ${direction === 'f' ? 'at or after' : 'at or before'} that time`);
      return event;
    },
  };
}
