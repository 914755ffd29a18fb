import { route, type Route } from '../../../http/route.ts';
import { Type } from '../../../http/type.ts';
import { invalidParam } from '../../../matrix/errors.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import type { EventReader, PersistedEvent, Visibility } from '../../../rooms/types.ts';
import type { ClientEventFormatter } from '../../../sync/client-event.ts';
import type { UnreadStore } from '../store/unread.ts';

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 500;

export interface NotificationRouteNeeds {
  readonly events: Pick<EventReader, 'listEvents'>;
  readonly visibility: Pick<Visibility, 'filterVisible'>;
  readonly formatter: Pick<ClientEventFormatter, 'format'>;
  readonly ignoredUsers: (userId: UserId) => ReadonlySet<UserId>;
}

/** Spec: client-server API, "Listing Notifications". */
export function notificationRoutes({
  store,
  events,
  visibility,
  formatter,
  ignoredUsers,
}: NotificationRouteNeeds & { store: Pick<UnreadStore, 'listNotifications'> }): Route[] {
  return [
    route({
      method: 'GET',
      path: '/_matrix/client/v3/notifications',
      auth: 'user',
      query: Type.Object({
        from: Type.Optional(Type.String()),
        limit: Type.Optional(Type.Integer({ minimum: 1 })),
        only: Type.Optional(Type.String()),
      }),
      handle: ({ requester, query }) => {
        const { userId } = requester;
        const limit = Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT);
        const listed = store.listNotifications(userId, {
          before: query.from === undefined ? Number.MAX_SAFE_INTEGER : readToken(query.from),
          // One more than wanted tells whether there is another page.
          limit: limit + 1,
          onlyHighlights: query.only === 'highlight',
        });
        const page = listed.slice(0, limit);
        const known = events.listEvents(page.map(({ eventId }) => eventId));
        const ignored = ignoredUsers(userId);
        const wanted = known.filter(({ sender }) => !ignored.has(sender));
        // An invite is no part of the history one may read, but it was meant for them.
        const isInvite = ({ type, stateKey }: PersistedEvent): boolean =>
          type === 'm.room.member' && stateKey === userId;
        const visible = [
          ...visibility.filterVisible(
            userId,
            wanted.filter((event) => !isInvite(event)),
          ),
          ...wanted.filter(isInvite),
        ];
        const shown = formatter.format(visible, requester, { format: 'sync', bundle: true });
        const byId = new Map(visible.map((event, i) => [event.eventId, { event, json: shown[i] ?? {} }]));
        const notifications: JsonObject[] = [];
        for (const { eventId, actions, read } of page) {
          const found = byId.get(eventId);
          if (found === undefined) continue;
          const { event, json } = found;
          notifications.push({
            room_id: event.roomId,
            event: json,
            actions: JSON.parse(actions),
            // Rules are the same on all of one's devices; clients still look for the key.
            profile_tag: '',
            read,
            ts: event.receivedTs,
          });
        }
        const last = page.at(-1);
        return last === undefined || listed.length <= limit
          ? { notifications }
          : { notifications, next_token: String(last.position) };
      },
    }),
  ];
}

function readToken(text: string): number {
  const position = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(position)) return position;
  throw invalidParam('The query parameter from is no token of a list of notifications');
}
