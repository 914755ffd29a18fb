import type { QueryHandler } from '../../federation/types.ts';
import { invalidParam, missingParam, notFound } from '../../matrix/errors.ts';
import { isRoomAlias, type ServerName, serverNameOf } from '../../matrix/identifiers.ts';
import type { Aliases } from './service/aliases.ts';

/** GET /query/directory (server-server API, "Querying for information"): this server's own aliases. */
export function directoryQuery(needs: { aliases: Pick<Aliases, 'find'>; serverName: ServerName }): QueryHandler {
  return async (_origin, { room_alias: alias }) => {
    if (alias === undefined) throw missingParam('room_alias is missing');
    if (!isRoomAlias(alias)) throw invalidParam('room_alias is not a room alias');
    // Whoever asks for another server's should ask that server.
    if (serverNameOf(alias) !== needs.serverName) throw invalidParam('The alias is not of this server');
    const target = await needs.aliases.find(alias);
    if (target === undefined) throw notFound(`There is no room alias ${alias}`);
    return { room_id: target.roomId, servers: [...target.servers] };
  };
}
