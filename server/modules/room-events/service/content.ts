import { badJson } from '../../../matrix/errors.ts';
import type { RoomId, ServerName } from '../../../matrix/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import { compileGlob, foldCase } from '../../../matrix/push-rules/glob.ts';

/** Where the content is to be sent from and to. */
export interface ContentPlace {
  readonly serverName: ServerName;
  readonly roomId: RoomId;
}

type ContentCheck = (content: JsonObject, place: ContentPlace) => void;

/**
 * What clients of this server may not send, although the rules of rooms would let it pass: it would harm the room, or
 * break other clients. Servers say such things to each other all the same, so nothing relies on it.
 * @throws MatrixError M_BAD_JSON
 */
export function checkMessageContent(type: string, content: JsonObject): void {
  if (STATE_ONLY.has(type)) throw badJson(`${type} can only be sent as state`);
  checkMentions(content);
  // Spec: "m.room.message". Clients have nothing to show without these.
  if (type === 'm.room.message') {
    for (const key of ['body', 'msgtype']) {
      if (typeof content[key] !== 'string') throw badJson(`A message needs the key ${key}, and it must be text`);
    }
  }
}

/** What would look as if the room had changed, and it had not. */
const STATE_ONLY: ReadonlySet<string> = new Set(['m.room.name', 'm.room.topic', 'm.room.tombstone']);

/** The same for state. */
export function checkStateContent(type: string, stateKey: string, content: JsonObject, place: ContentPlace): void {
  checkMentions(content);
  // With another state key these are events like any other: no server acts on them.
  if (stateKey === '') STATE_CHECKS.get(type)?.(content, place);
}

const STATE_CHECKS: ReadonlyMap<string, ContentCheck> = new Map<string, ContentCheck>([
  ['m.room.power_levels', checkPowerLevels],
  ['m.room.name', (content) => checkText(content, 'name')],
  ['m.room.topic', (content) => checkText(content, 'topic')],
  ['m.room.tombstone', checkTombstone],
  ['m.room.encryption', checkEncryption],
  ['m.room.server_acl', checkServerAcl],
]);

/** An absent or null name is how a name is taken away. */
function checkText(content: JsonObject, key: string): void {
  const value = content[key];
  if (value !== undefined && value !== null && typeof value !== 'string') throw badJson(`The key ${key} must be text`);
}

const LEVELS = ['ban', 'events_default', 'invite', 'kick', 'redact', 'state_default', 'users_default'] as const;
const LEVEL_MAPS = ['events', 'notifications', 'users'] as const;

/** Rooms before version 10 would also take text for numbers; no room needs more of those. */
function checkPowerLevels(content: JsonObject): void {
  const checkLevel = (name: string, level: JsonValue | undefined): void => {
    if (level !== undefined && !Number.isSafeInteger(level))
      throw badJson(`The power level ${name} must be an integer`);
  };
  for (const key of LEVELS) checkLevel(key, content[key]);
  for (const key of LEVEL_MAPS) {
    const levels = content[key];
    if (levels === undefined) continue;
    if (!isJsonObject(levels)) throw badJson(`The power levels under ${key} must be an object`);
    for (const level of Object.values(levels)) checkLevel(`of each entry of ${key}`, level);
  }
}

function checkTombstone({ replacement_room: replacement }: JsonObject, { roomId }: ContentPlace): void {
  if (typeof replacement !== 'string') throw badJson('A tombstone needs the key replacement_room');
  if (replacement === roomId) throw badJson('A room cannot be replaced by itself');
}

/** Without an algorithm, clients that come later would take the room for an unencrypted one. */
function checkEncryption({ algorithm }: JsonObject): void {
  if (typeof algorithm !== 'string' || algorithm === '') throw badJson('Encryption needs the key algorithm');
}

/** Spec: "m.room.server_acl". Whoever shuts out their own server could not take it back. */
function checkServerAcl(content: JsonObject, { serverName }: ContentPlace): void {
  const allow = readGlobs(content, 'allow');
  const deny = readGlobs(content, 'deny');
  const { allow_ip_literals: allowsLiterals } = content;
  const host = foldCase(serverName.replace(/:[0-9]+$/, ''));
  const isLiteral = host.startsWith('[') || /^[0-9]+(?:\.[0-9]+){3}$/.test(host);
  // 2 to 5 of the spec's steps, in its order. What is no boolean counts as true.
  const isAllowed = (name: string): boolean => {
    const isListed = (globs: readonly string[]): boolean => globs.some((glob) => compileGlob(glob).matchesWhole(name));
    return !(allowsLiterals === false && isLiteral) && !isListed(deny) && isListed(allow);
  };
  // Lists know no ports; but who has one in their name may well mean to shut out the others on the same host.
  if (!isAllowed(host) && !isAllowed(foldCase(serverName)))
    throw badJson('This would shut your own server out of the room');
}

function readGlobs(content: JsonObject, key: string): readonly string[] {
  const globs = content[key] ?? [];
  if (!Array.isArray(globs) || !globs.every((glob: JsonValue): glob is string => typeof glob === 'string')) {
    throw badJson(`The key ${key} must be a list of texts`);
  }
  return globs;
}

/** Spec: "User and room mentions". */
function checkMentions({ 'm.mentions': mentions }: JsonObject): void {
  if (mentions === undefined) return;
  if (!isJsonObject(mentions)) throw badJson('The key m.mentions must be an object');
  const { user_ids: users, room } = mentions;
  if (users !== undefined && !(Array.isArray(users) && users.every((user) => typeof user === 'string'))) {
    throw badJson('The key m.mentions.user_ids must be a list of user IDs');
  }
  if (room !== undefined && typeof room !== 'boolean') throw badJson('The key m.mentions.room must be true or false');
}
