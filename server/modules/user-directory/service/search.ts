import type { RateLimit } from '../../../http/rate-limit.ts';
import type { Requester } from '../../../http/route.ts';
import { localpartOf, serverNameOf, type UserId } from '../../../matrix/identifiers.ts';
import type { Database } from '../../../storage/types.ts';
import type { DirectoryStore, FoundFace } from '../store.ts';
import type { LocalUsers } from './follower.ts';
import type { Progress } from '../../../storage/progress.ts';
import { fold } from '../../../util/words.ts';
import { matchPhrase, parseTerm, type Term, wordsOfName } from './text.ts';

export interface UserDirectorySettings {
  /** Without it every search finds nobody. */
  readonly enabled: boolean;
  /** Everybody this server knows can be found, not only those in open and in shared rooms. */
  readonly searchAllUsers: boolean;
  readonly preferLocalUsers: boolean;
  readonly excludeRemoteUsers: boolean;
  readonly showLockedUsers: boolean;
}

export interface SearchNeeds {
  readonly db: Pick<Database, 'position'>;
  readonly store: DirectoryStore;
  readonly progress: Progress;
  readonly users: Pick<LocalUsers, 'find'>;
  readonly limit: RateLimit;
  readonly settings: UserDirectorySettings;
}

/** A user as a search shows them. */
interface Result {
  readonly user_id: UserId;
  readonly display_name?: string;
  readonly avatar_url?: string;
}

export type Search = (
  requester: Requester,
  term: string,
  limit: number,
) => Promise<{ readonly results: readonly Result[]; readonly limited: boolean }>;

/** How a face matches, best first. */
const EXACT = 0;
const START = 1;
const WORDS = 2;
const BEGINNINGS = 3;
const SERVER = 4;

interface Ranked {
  readonly face: FoundFace;
  readonly match: number;
  /** How little there is to show: 0 to 2. */
  readonly blank: number;
}

/** The most users one search gives. */
const MOST_RESULTS = 50;
/** How long a search waits for the directory to catch up, ms. */
const LONGEST_WAIT_MS = 500;

/** Searches the directory (spec: "User directory"). Throws M_LIMIT_EXCEEDED. */
export function createSearch({ db, store, progress, users, limit: rate, settings }: SearchNeeds): Search {
  function isShown({ userId, isLocal }: FoundFace): boolean {
    return settings.showLockedUsers || !isLocal || users.find(userId)?.locked !== true;
  }

  function compare(a: Ranked, b: Ranked): number {
    const isExact = Number(b.match === EXACT) - Number(a.match === EXACT);
    const isLocal = settings.preferLocalUsers ? Number(b.face.isLocal) - Number(a.face.isLocal) : 0;
    const userId = a.face.userId < b.face.userId ? -1 : 1;
    return isExact || isLocal || a.match - b.match || a.blank - b.blank || userId;
  }

  return async (requester, input, limit) => {
    if (!settings.enabled) return { results: [], limited: false };
    rate.checkFor(requester, requester.userId);
    const term = parseTerm(input);
    if (term.text === '') return { results: [], limited: false };
    await progress.until(db.position(), LONGEST_WAIT_MS);

    const found = store.search(term, {
      searcher: requester.userId,
      all: settings.searchAllUsers,
      localOnly: settings.excludeRemoteUsers,
    });
    const ranked = found.flatMap((face) => rank(withoutSecrets(face), term) ?? []).sort(compare);
    const wanted = Math.min(limit, MOST_RESULTS);
    const results = new Map<UserId, Result>();
    for (const { face } of ranked) {
      if (results.has(face.userId) || !isShown(face)) continue;
      if (results.size === wanted) return { results: [...results.values()], limited: true };
      results.set(face.userId, show(face));
    }
    return { results: [...results.values()], limited: false };
  };
}

/** What a user of another server shows in some room is for those who see that room; the user ID is no secret. */
function withoutSecrets(face: FoundFace): FoundFace {
  return face.isLocal || face.isVisible ? face : { ...face, displayName: '', avatarUrl: '', foldedName: '' };
}

/** How well a face matches, if it does. */
function rank(face: FoundFace, { text, phrases }: Term): Ranked | undefined {
  const { foldedName } = face;
  const [localpart, server] = [fold(localpartOf(face.userId)), fold(serverNameOf(face.userId))];
  const match = ((): number | undefined => {
    if (foldedName === text || localpart === text || `${localpart}:${server}` === text) return EXACT;
    if (phrases.length === 0) return undefined;
    const own = [foldedName, localpart].map(wordsOfName);
    const matches = phrases.map((phrase) => own.map((words) => matchPhrase(words, phrase)));
    if (matches.every((fields) => fields.some((field) => field !== undefined))) {
      if (foldedName.startsWith(text) || localpart.startsWith(text)) return START;
      return matches.every((fields) => fields.includes('whole')) ? WORDS : BEGINNINGS;
    }
    const serverWords = wordsOfName(server);
    const fitsAll = phrases.every(
      (phrase, n) =>
        matches[n]?.some((field) => field !== undefined) === true || matchPhrase(serverWords, phrase) !== undefined,
    );
    return fitsAll ? SERVER : undefined;
  })();
  if (match === undefined) return undefined;
  return { face, match, blank: Number(face.displayName === '') + Number(face.avatarUrl === '') };
}

function show({ userId, displayName, avatarUrl }: FoundFace): Result {
  return {
    user_id: userId,
    ...(displayName === '' ? {} : { display_name: displayName }),
    ...(avatarUrl === '' ? {} : { avatar_url: avatarUrl }),
  };
}
