import { isIP } from 'node:net';
import { LRUCache } from 'lru-cache';
import type { RoomId, ServerName } from '../matrix/identifiers.ts';
import type { JsonObject } from '../matrix/json.ts';
import { compileGlob, foldCase, type Glob } from '../matrix/push-rules/glob.ts';
import { atMost } from '../util/lru.ts';
import type { ServerAcls } from './federation-types.ts';
import type { PersistedEvent, StateReader } from './types.ts';

const LISTS_KEPT = 500;
/** Verdicts kept for each list. */
const SERVERS_KEPT = 1_000;

/** One m.room.server_acl event, made ready. */
interface AccessList {
  readonly allowsIpLiterals: boolean;
  readonly allow: readonly Glob[];
  readonly deny: readonly Glob[];
  readonly verdicts: LRUCache<string, boolean>;
}

/** Who may take part in a room at all (spec: m.room.server_acl; server-server API, "Server Access Control Lists"). */
export class RoomServerAcls implements ServerAcls {
  readonly #state: Pick<StateReader, 'findCurrent'>;
  readonly #lists = new LRUCache<string, AccessList>(atMost(LISTS_KEPT));

  constructor({ state }: { state: Pick<StateReader, 'findCurrent'> }) {
    this.#state = state;
  }

  isAllowed(server: ServerName, roomId: RoomId): boolean {
    // 1
    return this.isAllowedBy(server, this.#state.findCurrent(roomId, 'm.room.server_acl', ''));
  }

  isAllowedBy(server: ServerName, event: PersistedEvent | undefined): boolean {
    if (event === undefined) return true;
    // A redacted list is another one: it has lost all it said.
    const key = `${event.eventId} ${event.redactedBy ?? ''}`;
    let list = this.#lists.get(key);
    if (list === undefined) {
      list = readList(event.content);
      this.#lists.set(key, list);
    }
    const host = foldCase(withoutPort(server));
    let verdict = list.verdicts.get(host);
    if (verdict === undefined) {
      verdict = judgeHost(host, list);
      list.verdicts.set(host, verdict);
    }
    return verdict;
  }
}

function judgeHost(host: string, { allowsIpLiterals, allow, deny }: AccessList): boolean {
  // 2
  if (!allowsIpLiterals && isIpLiteral(host)) return false;
  // 3
  if (deny.some((glob) => glob.matchesWhole(host))) return false;
  // 4, 5
  return allow.some((glob) => glob.matchesWhole(host));
}

function readList(content: JsonObject): AccessList {
  return {
    allowsIpLiterals: content['allow_ip_literals'] !== false,
    allow: readGlobs(content['allow']),
    deny: readGlobs(content['deny']),
    verdicts: new LRUCache(atMost(SERVERS_KEPT)),
  };
}

function readGlobs(list: unknown): Glob[] {
  if (!Array.isArray(list)) return [];
  return list.filter((entry) => typeof entry === 'string').map(compileGlob);
}

/** A server name without its port: the lists know none. */
function withoutPort(server: ServerName): string {
  return server.replace(/:[0-9]+$/, '');
}

function isIpLiteral(host: string): boolean {
  return host.startsWith('[') || isIP(host) !== 0;
}
