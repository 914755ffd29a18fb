import { copyFile, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { AppUpdater, UpdateInfo } from 'electron-updater';
import { parse } from 'yaml';
import type { Clock, Timer } from './clock.ts';
import type { UpdateState } from './contract.ts';
import { isMissing, isObject, readObject, writeWhole } from './files.ts';
import { isSigned } from './release-check.ts';
import { isNoRoom, restoreSnapshot, takeSnapshot } from './snapshot.ts';
import { strings } from './strings.ts';

type Updater = Pick<
  AppUpdater,
  | 'autoDownload'
  | 'autoInstallOnAppQuit'
  | 'autoRunAppAfterInstall'
  | 'allowDowngrade'
  | 'logger'
  | 'checkForUpdates'
  | 'downloadUpdate'
  | 'quitAndInstall'
  | 'setFeedURL'
  | 'on'
>;

interface UpdatesParts {
  readonly clock: Clock;
  readonly fetch: typeof fetch;
  /** Loads electron-updater's, which looks for its configuration at once. */
  readonly loadUpdater: () => Promise<Updater>;
  readonly version: string;
  readonly isPackaged: boolean;
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  /** Where the packager has put the feed's address and the key that releases are signed with. */
  readonly resources: string;
  /** Of the shell's own files. */
  readonly directory: string;
  /** The file that an AppImage is. */
  readonly appImage: string | undefined;
  readonly isAutomatic: () => boolean;
  readonly onChange: (state: UpdateState) => void;
  /** The program will be another file from its next start on. */
  readonly onMoved: (program: string) => void;
  /** Starts the program that is in the file now, and ends this one. */
  readonly startInstead: (program: string) => void;
  /** Ends the program though the update could not be put in place. */
  readonly quit: () => void;
}

/** What is remembered from before an update until the new version has shown that it works. */
interface Passage {
  readonly from: string;
  readonly to: string;
  readonly phase: 'installing' | 'going-back' | 'done';
  /** Starts of the new version that have not led to a server that runs. */
  readonly attempts: number;
  /** The new version has had the data in its hands. */
  readonly isTouched: boolean;
  readonly dataDir: string;
  readonly database: string;
  readonly snapshot: string;
  /** The AppImage of the version before, and where it was. */
  readonly program: { readonly copy: string; readonly path: string } | undefined;
}

/** What is to be done before the server is started. */
export type Beginning =
  | { readonly kind: 'start' }
  /** The version before is back, with its data; tell so. */
  | { readonly kind: 'rolled-back'; readonly failed: string }
  /** This version has failed: the one before is on its way. The server must not be started. */
  | { readonly kind: 'going-back' };

const FIRST_LOOK_MS = 60_000;
const LOOK_MS = 6 * 3_600_000;
const MAX_ATTEMPTS = 2;
const LONGEST_REASON = 200;

/** An error whose message is for the person as it stands. */
class Refusal extends Error {}

/** Looks for new versions, has them installed when the program ends, and goes back where one does not work. */
export class Updates {
  readonly #parts: UpdatesParts;
  readonly #file: string;
  #state: UpdateState;
  #updater: Updater | undefined;
  #feed = '';
  #key = '';
  #timer: Timer | undefined;
  #failedVersion: string | undefined;
  #isInstalling = false;
  #isOnTrial = false;
  #isGoingBack = false;

  constructor(parts: UpdatesParts) {
    this.#parts = parts;
    this.#file = join(parts.directory, 'update.json');
    this.#state = { kind: 'idle', checkedAt: undefined };
  }

  get state(): UpdateState {
    return this.#state;
  }

  /** This is a new version that has not shown yet that it works. */
  get isOnTrial(): boolean {
    return this.#isOnTrial;
  }

  /** This is a new version that makes way for the one before: its server must not be started. */
  get isGoingBack(): boolean {
    return this.#isGoingBack;
  }

  /**
   * Before anything else of the program, so that a new version that comes to nothing in whatever way has been counted: whether
   * the program ends here, because the version before is started instead. Throws the file system's error.
   */
  async arrive(): Promise<boolean> {
    this.#failedVersion = this.#readSkipped();
    const found = this.#readPassage();
    if (found === undefined || found.phase !== 'installing' || found.to !== this.#parts.version) return false;
    const passage = { ...found, attempts: found.attempts + 1, isTouched: true };
    this.#isOnTrial = true;
    this.#keep(passage);
    // What ends in its first moments would never come as far as `begin`. A copy is at hand; the feed has time until then.
    return passage.attempts > MAX_ATTEMPTS && passage.program !== undefined && this.#goBack(passage);
  }

  /** This start has come to nothing before the server was tried: whether the version before is on its way. */
  async abandon(): Promise<boolean> {
    const passage = this.#isOnTrial ? this.#readPassage() : undefined;
    return passage !== undefined && passage.attempts >= MAX_ATTEMPTS && this.#goBack(passage);
  }

  /**
   * Before the server is started, and again where it was refused: finishes or undoes what the last run has begun. Throws
   * where the data cannot be put back as they were.
   */
  async begin(): Promise<Beginning> {
    const passage = this.#readPassage();
    const { version } = this.#parts;
    await this.#open();
    if (passage === undefined) {
      this.#readNote();
      return { kind: 'start' };
    }
    if (version === passage.to && passage.phase !== 'done') {
      if (passage.phase === 'going-back' || passage.attempts > MAX_ATTEMPTS) {
        await this.#goBack(passage);
        return { kind: 'going-back' };
      }
      return { kind: 'start' };
    }
    // If not touched by it, the new version was never put in place.
    const isBack = version === passage.from && passage.phase !== 'done' && passage.isTouched;
    if (isBack) {
      await restoreSnapshot(passage, passage.snapshot).catch((error: unknown) => {
        throw new Error(strings.updates.cannotPutBack(passage.snapshot, messageOf(error)), { cause: error });
      });
      this.#failedVersion = passage.to;
      const { title, body } = strings.notices.rolledBack(passage.to);
      if (this.#updater !== undefined) this.#become({ kind: 'failed', message: `${title}. ${body}` });
    }
    await this.#forget(passage, isBack);
    return isBack ? { kind: 'rolled-back', failed: passage.to } : { kind: 'start' };
  }

  /** The server runs and its homeserver is well: the new version has shown that it works. */
  succeeded(): void {
    if (!this.#isOnTrial) return;
    this.#isOnTrial = false;
    const passage = this.#readPassage();
    if (passage !== undefined && passage.phase === 'installing' && passage.to === this.#parts.version) {
      this.#keep({ ...passage, phase: 'done', attempts: 0 });
    }
  }

  /** The program ends in order before it has shown whether it works: that was no attempt. */
  leave(): void {
    const passage = this.#readPassage();
    const isOpen = passage?.phase === 'installing' && passage.to === this.#parts.version && passage.attempts > 0;
    if (isOpen) this.#keep({ ...passage, attempts: passage.attempts - 1 });
  }

  /** The server could not be started. What follows, `retry` (once more) or `nothing` that an update has to do with. */
  async failed(): Promise<'retry' | 'going-back' | 'nothing'> {
    const passage = this.#readPassage();
    if (passage === undefined || passage.phase !== 'installing' || passage.to !== this.#parts.version) return 'nothing';
    if (passage.attempts >= MAX_ATTEMPTS) {
      await this.#goBack(passage);
      return 'going-back';
    }
    this.#keep({ ...passage, attempts: passage.attempts + 1 });
    return 'retry';
  }

  /** Looks for a new version now and then. */
  start(): void {
    if (this.#state.kind === 'unavailable') return;
    const look = (): void => {
      this.#timer = this.#parts.clock.after(LOOK_MS, look);
      if (this.#parts.isAutomatic()) void this.check();
    };
    this.#timer = this.#parts.clock.after(FIRST_LOOK_MS, look);
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** Looks for a new version and fetches it. Resolves when it is ready or there is none; `state` tells. */
  async check(): Promise<void> {
    const updater = this.#updater;
    if (updater === undefined || ['checking', 'downloading', 'ready'].includes(this.#state.kind)) return;
    this.#become({ kind: 'checking' });
    try {
      const found = await updater.checkForUpdates();
      if (found?.isUpdateAvailable !== true || found.updateInfo.version === this.#failedVersion) {
        this.#become({ kind: 'idle', checkedAt: this.#parts.clock.now() });
        return;
      }
      await this.#fetchSigned(updater, found.updateInfo, this.#feed);
      this.#become({ kind: 'ready', version: found.updateInfo.version });
    } catch (error) {
      // What a library says of it goes on with the headers of the answer.
      const [why = ''] = messageOf(error).split('\n');
      const message = error instanceof Refusal ? why : strings.updates.notFetched(why.slice(0, LONGEST_REASON));
      this.#become({ kind: 'failed', message });
    }
  }

  /**
   * When the program ends and the server has: copies the data, so that the new version may change them. A copy that cannot
   * be made leaves everything as it is, and the update for another time.
   */
  async prepareInstall(data: { readonly dataDir: string; readonly database: string } | undefined): Promise<boolean> {
    const updater = this.#updater;
    if (updater === undefined || this.#state.kind !== 'ready') return false;
    const { version: to } = this.#state;
    const { version: from, appImage, directory } = this.#parts;
    const program = appImage === undefined ? undefined : { copy: join(directory, 'previous.AppImage'), path: appImage };
    let snapshot: string | undefined;
    try {
      // Where the server never ran in this session, nobody knows where its data are.
      if (data === undefined) throw new Error(strings.server.away);
      const copy = join(data.dataDir, 'before-update');
      await takeSnapshot(data, copy);
      snapshot = copy;
      if (program !== undefined) await copyFile(program.path, program.copy);
      this.#keep({ from, to, phase: 'installing', attempts: 0, isTouched: false, ...data, snapshot, program });
      return true;
    } catch (error) {
      // Half of what is needed is of no use, and may be what fills the disk.
      if (snapshot !== undefined) await rm(snapshot, { recursive: true, force: true });
      if (program !== undefined) await rm(program.copy, { force: true });
      const message = isNoRoom(error) ? strings.updates.noRoom(to) : strings.updates.snapshotFailed(messageOf(error));
      this.#become({ kind: 'failed', message });
      // The program is about to end: who reads it does so at the next start.
      writeWhole(this.#file, `${JSON.stringify({ skip: this.#failedVersion, note: message })}\n`);
      return false;
    }
  }

  /** Puts the new version in place, after `prepareInstall`, and ends this program. `runAfter`: starts the new one then. */
  install(runAfter: boolean): void {
    const updater = this.#updater;
    if (updater === undefined) return;
    this.#isInstalling = true;
    // Each of the two is listened to on some systems only.
    updater.autoRunAppAfterInstall = runAfter;
    updater.quitAndInstall(true, runAfter);
  }

  async #open(): Promise<void> {
    if (this.#updater !== undefined) return;
    const { isPackaged, resources, loadUpdater } = this.#parts;
    if (!isPackaged) return this.#become({ kind: 'unavailable', reason: strings.updates.notPackaged });
    const config = await readIfThere(join(resources, 'app-update.yml'));
    const content: unknown = config === undefined ? undefined : parse(config);
    if (!isObject(content) || typeof content['url'] !== 'string') {
      return this.#become({ kind: 'unavailable', reason: strings.updates.noFeed });
    }
    const key = await readIfThere(join(resources, 'update-key.pem'));
    if (key === undefined) return this.#become({ kind: 'unavailable', reason: strings.updates.noKey });
    this.#feed = content['url'];
    this.#key = key;
    const updater = await loadUpdater();
    // Nothing is fetched before its signature was seen, and nothing put in place before the data were copied.
    updater.autoDownload = false;
    updater.autoInstallOnAppQuit = false;
    updater.logger = null;
    updater.on('download-progress', ({ percent }) => {
      if (this.#state.kind === 'downloading') this.#become({ ...this.#state, progress: percent / 100 });
    });
    // An AppImage that has its version in its name gets another one.
    updater.on('appimage-filename-updated', (program) => this.#parts.onMoved(program));
    updater.on('error', () => {
      // Otherwise the same error comes out of the call that failed.
      if (this.#isInstalling) this.#parts.quit();
    });
    this.#updater = updater;
  }

  async #fetchSigned(updater: Updater, info: UpdateInfo, feed: string): Promise<void> {
    const { fetch, platform, arch } = this.#parts;
    if (!(await isSigned(info, { fetch, feed, publicKey: this.#key, platform, arch }))) {
      throw new Refusal(strings.updates.badSignature);
    }
    this.#become({ kind: 'downloading', version: info.version, progress: 0 });
    await updater.downloadUpdate();
  }

  /**
   * Gets the version before back: from its copy, or from the feed, which keeps each version in a folder of its name. Whether
   * that went well; otherwise `state` tells.
   */
  async #goBack(passage: Passage): Promise<boolean> {
    const { from, to, program } = passage;
    this.#isOnTrial = false;
    this.#isGoingBack = true;
    this.#keep({ ...passage, phase: 'going-back' });
    this.#become({ kind: 'failed', message: strings.updates.mustGoBack(to) });
    try {
      if (program !== undefined) {
        await this.#putBack(program);
        this.#parts.startInstead(program.path);
        return true;
      }
      const updater = this.#updater;
      if (updater === undefined) {
        throw new Error(this.#state.kind === 'unavailable' ? this.#state.reason : strings.updates.noFeed);
      }
      const feed = `${this.#feed.replace(/\/$/, '')}/${from}`;
      updater.setFeedURL({ provider: 'generic', url: feed });
      updater.allowDowngrade = true;
      const found = await updater.checkForUpdates();
      if (found === null || found.updateInfo.version !== from) throw new Error(strings.updates.noFeed);
      await this.#fetchSigned(updater, found.updateInfo, feed);
      this.install(true);
      return true;
    } catch (error) {
      this.#become({ kind: 'failed', message: strings.updates.cannotGoBack(to, messageOf(error)) });
      return false;
    }
  }

  async #putBack({ copy, path }: NonNullable<Passage['program']>): Promise<void> {
    const temporary = `${path}.new`;
    await copyFile(copy, temporary);
    await rename(temporary, path);
    const { appImage } = this.#parts;
    // An update may have given the file the name of its version.
    if (appImage !== undefined && basename(appImage) !== basename(path) && dirname(appImage) === dirname(path)) {
      await rm(appImage, { force: true });
    }
  }

  async #forget({ snapshot, program }: Passage, isBack: boolean): Promise<void> {
    // After going back the copy stays until the next one: whatever went wrong, it is what all began with.
    if (!isBack) await rm(snapshot, { recursive: true, force: true });
    if (program !== undefined) await rm(program.copy, { force: true });
    writeWhole(this.#file, `${JSON.stringify({ skip: this.#failedVersion })}\n`);
  }

  #keep(passage: Passage): void {
    writeWhole(this.#file, `${JSON.stringify({ skip: this.#failedVersion, passage })}\n`);
  }

  #readSkipped(): string | undefined {
    const skip = readObject(this.#file)?.['skip'];
    return typeof skip === 'string' ? skip : undefined;
  }

  /** Why the last run could not install an update; told once. */
  #readNote(): void {
    const note = readObject(this.#file)?.['note'];
    if (typeof note !== 'string' || this.#updater === undefined) return;
    writeWhole(this.#file, `${JSON.stringify({ skip: this.#failedVersion })}\n`);
    this.#become({ kind: 'failed', message: note });
  }

  #readPassage(): Passage | undefined {
    const value = readObject(this.#file)?.['passage'];
    if (!isObject(value)) return undefined;
    const { from, to, phase, attempts, isTouched, dataDir, database, snapshot, program } = value;
    if (phase !== 'installing' && phase !== 'going-back' && phase !== 'done') return undefined;
    for (const each of [from, to, dataDir, database, snapshot]) if (typeof each !== 'string') return undefined;
    return {
      from: String(from),
      to: String(to),
      phase,
      attempts: typeof attempts === 'number' ? attempts : 0,
      isTouched: isTouched === true,
      dataDir: String(dataDir),
      database: String(database),
      snapshot: String(snapshot),
      program: isObject(program) ? { copy: String(program['copy']), path: String(program['path']) } : undefined,
    };
  }

  #become(state: UpdateState): void {
    this.#state = state;
    this.#parts.onChange(state);
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
