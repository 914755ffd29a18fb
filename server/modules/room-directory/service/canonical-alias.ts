import { invalidParam, MatrixError } from '../../../matrix/errors.ts';
import { isRoomAlias, type RoomAlias, type RoomId } from '../../../matrix/identifiers.ts';
import type { JsonObject, JsonValue } from '../../../matrix/json.ts';
import type { AliasTarget } from './needs.ts';

/** The aliases that the content of an m.room.canonical_alias names, whatever they are. */
export function listNamed(content: JsonObject): JsonValue[] {
  const { alias, alt_aliases: others } = content;
  return [
    ...(alias === undefined || alias === null || alias === '' ? [] : [alias]),
    ...(Array.isArray(others) ? others : []),
  ];
}

/** As `listNamed`, for content a client wrote. @throws MatrixError M_INVALID_PARAM for what is no alias */
function readNamed(content: JsonObject): RoomAlias[] {
  const others = content['alt_aliases'];
  if (others !== undefined && !Array.isArray(others)) throw invalidParam('alt_aliases must be a list');
  return listNamed(content).map((alias) => {
    if (typeof alias !== 'string' || !isRoomAlias(alias)) {
      throw invalidParam('alias and alt_aliases must be room aliases, such as #name:server');
    }
    return alias;
  });
}

/**
 * Whether the aliases a client wants shown lead to the room. Those it has already been showing are not asked about again:
 * aliases of other servers drift (spec: "Room aliases").
 * @throws MatrixError M_INVALID_PARAM for what is no alias, M_BAD_ALIAS for one that leads elsewhere or nowhere
 */
export async function checkCanonicalAlias(
  find: (alias: RoomAlias) => Promise<AliasTarget | undefined> | AliasTarget | undefined,
  roomId: RoomId,
  content: JsonObject,
  previous: JsonObject | undefined,
): Promise<void> {
  const known = new Set(previous === undefined ? [] : listNamed(previous));
  for (const alias of new Set(readNamed(content))) {
    if (known.has(alias)) continue;
    const target = await findOrRefuse(find, alias);
    if (target?.roomId !== roomId) throw badAlias(`The alias ${alias} does not lead to this room`);
  }
}

/** An alias that its server cannot be asked about leads nowhere as far as anybody can tell. */
async function findOrRefuse(
  find: (alias: RoomAlias) => Promise<AliasTarget | undefined> | AliasTarget | undefined,
  alias: RoomAlias,
): Promise<AliasTarget | undefined> {
  try {
    return await find(alias);
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error;
    throw badAlias(`The alias ${alias} could not be looked up: ${error.message}`);
  }
}

/** The same for a room that is yet to be made, and that only one alias can lead to. */
export function checkFirstCanonicalAlias(content: JsonObject, only: RoomAlias | undefined): void {
  const stranger = readNamed(content).find((alias) => alias !== only);
  if (stranger !== undefined) throw badAlias(`The alias ${stranger} does not lead to the new room`);
}

const badAlias = (message: string): MatrixError => new MatrixError('M_BAD_ALIAS', message);

/** The content without an alias; undefined if it does not name it. */
export function withoutAlias(content: JsonObject, alias: string): JsonObject | undefined {
  const { alias: main, alt_aliases: others, ...rest } = content;
  const isAmongOthers = Array.isArray(others) && others.includes(alias);
  if (main !== alias && !isAmongOthers) return undefined;
  const kept: readonly JsonValue[] = Array.isArray(others) ? others.filter((other: JsonValue) => other !== alias) : [];
  return {
    ...rest,
    ...(main === undefined || main === alias ? {} : { alias: main }),
    ...(kept.length === 0 ? {} : { alt_aliases: kept }),
  };
}
