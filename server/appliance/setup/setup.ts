import { MatrixError, forbidden } from '../../matrix/errors.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import type { Announcer } from '../announcer.ts';
import type {
  Changed,
  Connect,
  DoctorReport,
  FieldProblem,
  NameCheck,
  Reach,
  ReachChange,
  Setup,
  SetupDone,
  SetupDraft,
} from '../contract.ts';
import type { Homeserver } from '../homeserver.ts';
import type { Keeper } from '../lifecycle/keeper.ts';
import { connectGuide } from './connect.ts';
import type { SetupNotebook } from './draft.ts';
import { checkName, type NameWorld } from './name-check.ts';
import { checkSpelling, HOME_NAME } from './names.ts';
import { listOwnAddresses } from './own-addresses.ts';
import { findWeakness } from './weak-passwords.ts';
import type { AccountsPort, SetupFiles } from './port.ts';

interface SetupNeeds {
  readonly clock: Clock;
  readonly log: Logger;
  readonly announcer: Pick<Announcer, 'moved'>;
  readonly keeper: Keeper;
  readonly notebook: SetupNotebook;
  readonly files: SetupFiles;
  readonly world: NameWorld;
  readonly dataDir: string;
  /** What was last found out about the way here. */
  readonly doctor: () => DoctorReport | undefined;
  readonly platform: NodeJS.Platform;
}

interface NewAccount {
  readonly username: string;
  readonly password: string;
  readonly displayName?: string | undefined;
}

const USERNAME_RULES =
  'Small letters, digits, and . _ = - / + may stand in it. It becomes part of your Matrix ID and cannot be changed later; the name others see can.';

/** The name a new server bears until somebody chooses one. */
const NAMELESS = 'localhost';

/** Makes a server out of a fresh folder: where it is reached, what it is called, who runs it. */
export class SetupDesk {
  readonly #needs: SetupNeeds;
  #isFinishing = false;

  constructor(needs: SetupNeeds) {
    this.#needs = needs;
  }

  /** Whether somebody runs this server; while that cannot be asked, whether somebody did. */
  isDone(): boolean {
    const { keeper, notebook } = this.#needs;
    const accounts = keeper.find()?.ports.accounts;
    if (accounts === undefined) return notebook.notes.isDone;
    const isDone = accounts.hasAdministrator();
    if (isDone !== notebook.notes.isDone) this.#note(isDone);
    return isDone;
  }

  /** It only helps while the homeserver cannot be asked: that it could not be written down is no reason to fail. */
  #note(isDone: boolean): void {
    const { notebook, log } = this.#needs;
    try {
      notebook.put({ ...notebook.notes, isDone });
    } catch (error) {
      log.warn({ error }, 'how far setting up has come could not be written down');
    }
  }

  get(): Setup {
    return {
      isDone: this.isDone(),
      nameIsFinal: this.#nameIsFinal(),
      draft: this.draft(),
      suggestions: { homeName: HOME_NAME, addresses: listOwnAddresses() },
      usernameRules: USERNAME_RULES,
    };
  }

  #nameIsFinal(): boolean {
    return this.#needs.keeper.find()?.ports.accounts.hasPeople() ?? this.isDone();
  }

  /** The answers so far. Once the name is final, what holds is what is configured, whoever wrote that, or brought it back. */
  draft(): SetupDraft {
    const { files, notebook } = this.#needs;
    const noted = notebook.notes.draft;
    const present = files.present();
    if (present === undefined || present.serverName === NAMELESS) {
      return noted ?? { reach: 'home', serverName: HOME_NAME };
    }
    if (noted !== undefined && !this.#nameIsFinal()) return noted;
    const { serverName, reaches, ...rest } = present;
    // Several answers can lead to the same configuration: then it is the one that was given.
    const isNoted = noted !== undefined && noted.serverName === serverName && reaches.includes(noted.reach);
    return withoutEmpty({ reach: isNoted ? noted.reach : reaches[0], serverName, ...rest });
  }

  /** Throws M_FORBIDDEN before the server is set up. */
  connect(): Connect {
    const { keeper, doctor, platform } = this.#needs;
    const { serverName, clientUrls, ports } = keeper.get();
    if (!this.isDone()) throw forbidden('This server is not set up yet');
    const report = doctor();
    return connectGuide({
      serverName,
      clientUrls,
      userId: ports.accounts.onlyPerson(),
      reach: this.draft().reach,
      isOpen: report?.findings.find(({ id }) => id === 'client-api')?.verdict === 'good',
      platform,
    });
  }

  /** Keeps the answers so far; they need not be good ones yet. Throws M_FORBIDDEN for a name that is final. */
  put(draft: SetupDraft): Setup {
    const { notebook, files, dataDir, announcer } = this.#needs;
    if (this.isDone()) throw alreadyDone();
    // From another window, while this one makes the server of the answers that there were.
    if (this.#isFinishing) throw busy();
    if (this.#nameIsFinal() && draft.serverName !== files.present()?.serverName) {
      throw refusal(
        'serverName',
        'Somebody has an account here, so that the name cannot be changed any more',
        'M_FORBIDDEN',
      );
    }
    if (draft.dataDirectory !== undefined && draft.dataDirectory !== dataDir) {
      throw refusal(
        'dataDirectory',
        `Hearth keeps its data in ${dataDir}; another folder can be chosen when it is started`,
      );
    }
    notebook.put({ draft: withoutEmpty(draft), isDone: false });
    announcer.moved('setup');
    return this.get();
  }

  /** Another way to a server that is set up. Throws M_FORBIDDEN before it is, a MatrixError with the `field` at fault. */
  changeReach(change: ReachChange): Changed {
    const { files, notebook, announcer } = this.#needs;
    if (!this.isDone()) throw forbidden('This server is not set up yet; where it is reached is asked then');
    const { serverName } = this.draft();
    const draft = withoutEmpty({ ...change, serverName });
    // A name that was taken elsewhere may be odd; what counts is whether it leads here that way.
    const wrong = checkSpelling(draft.reach, serverName).find(({ id, verdict }) => id === 'kind' && verdict === 'bad');
    if (wrong !== undefined) {
      throw refusal(
        'reach',
        `${wrong.text} The name of this server stays ${serverName}; to be reached from outside, a new server has to be set up under another name.`,
      );
    }
    checkPair(draft);
    const needsRestart = files.changeReach(draft);
    notebook.put({ draft, isDone: true });
    announcer.moved('setup');
    announcer.moved('settings');
    return { needsRestart };
  }

  checkName(reach: Reach, serverName: string): Promise<NameCheck> {
    return checkName({ reach, serverName, current: this.#needs.files.present()?.serverName }, this.#needs);
  }

  checkAccount(account: { readonly username: string; readonly password?: string | undefined }): FieldProblem[] {
    const { accounts } = this.#needs.keeper.get().ports;
    const problems: FieldProblem[] = [];
    const look = (field: string, check: () => void): void => {
      try {
        check();
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        problems.push({ field, message: error.message });
      }
    };
    look('username', () => accounts.checkNewAccount({ username: account.username }));
    if (account.password !== undefined && problems.length === 0)
      look('password', () => accounts.checkNewAccount(account));
    if (account.password !== undefined && problems.length === 0) {
      const weakness = findWeakness(account.password, [account.username, this.draft().serverName]);
      if (weakness !== undefined) problems.push({ field: 'password', message: weakness });
    }
    return problems;
  }

  /**
   * Gives the server its name and its first account. Nothing is final before the account is there: broken off at any moment,
   * the next start finds a whole server, and this can be called again. Throws a MatrixError with the `field` at fault.
   */
  async finish(account: NewAccount): Promise<SetupDone> {
    if (this.#isFinishing) throw busy();
    this.#isFinishing = true;
    try {
      return await this.#finish(account);
    } finally {
      this.#isFinishing = false;
      this.#needs.announcer.moved('setup');
      this.#needs.announcer.moved('status');
    }
  }

  async #finish(account: NewAccount): Promise<SetupDone> {
    const { keeper, log } = this.#needs;
    const { accounts } = keeper.get().ports;
    if (accounts.hasAdministrator()) throw alreadyDone();
    this.#checkAll(account);
    // With an account on it, a server stays what it is; all it lacks is somebody to run it.
    const { serverName, clientUrl, ports } = accounts.hasPeople() ? keeper.get() : await this.#makeServer(accounts);
    const userId = await ports.accounts.createAdministrator(account);
    this.#note(true);
    log.info({ serverName }, 'the server is set up');
    return { serverName, userId, clientUrl };
  }

  #checkAll(account: NewAccount): void {
    const [problem] = this.checkAccount(account);
    if (problem === undefined) return;
    throw refusal(
      problem.field,
      problem.message,
      problem.field === 'password' ? 'M_WEAK_PASSWORD' : 'M_INVALID_USERNAME',
    );
  }

  async #makeServer(accounts: AccountsPort): Promise<Homeserver> {
    const { keeper, files, log } = this.#needs;
    const draft = this.draft();
    const wrong = checkSpelling(draft.reach, draft.serverName).find(({ verdict }) => verdict === 'bad');
    if (wrong !== undefined) throw refusal('serverName', `${wrong.text} ${wrong.nextStep ?? ''}`.trim());
    checkPair(draft);
    const prepared = files.prepare(draft);
    if (!prepared.isChange) return keeper.get();
    if (accounts.hasPeople()) throw alreadyDone();
    await keeper.whileHeld('it gets its name', async () => prepared.apply());
    if (keeper.find() !== undefined) return keeper.get();
    const { state } = keeper;
    const why = state.kind === 'failed' ? state.message : 'it did not start';
    log.error({ why }, 'the server could not be started as it was to be set up');
    await keeper.whileHeld('it goes back to how it was', async () => prepared.undo());
    throw new MatrixError('M_UNKNOWN', `The server could not be started that way, and is as it was before: ${why}`, {
      status: 500,
    });
  }
}

function checkPair({ certificatePath, privateKeyPath }: SetupDraft): void {
  if ((certificatePath === undefined) === (privateKeyPath === undefined)) return;
  throw refusal(
    certificatePath === undefined ? 'certificatePath' : 'privateKeyPath',
    'A certificate and its key belong together: name both files, or none',
  );
}

/** What was left empty counts as not answered. */
function withoutEmpty({
  reach,
  serverName,
  publicUrl,
  certificatePath,
  privateKeyPath,
}: Pick<SetupDraft, 'reach' | 'serverName'> & {
  readonly [K in 'publicUrl' | 'certificatePath' | 'privateKeyPath']?: string | undefined;
}): SetupDraft {
  const given = Object.entries({ publicUrl, certificatePath, privateKeyPath }).flatMap(([name, value]) => {
    const text = value?.trim() ?? '';
    return text === '' ? [] : [[name, text]];
  });
  return { reach, serverName: serverName.trim(), ...Object.fromEntries(given) };
}

function refusal(field: string, message: string, errcode = 'M_INVALID_PARAM'): MatrixError {
  return new MatrixError(errcode, message, {
    fields: { field },
    ...(errcode === 'M_FORBIDDEN' ? {} : { status: 400 }),
  });
}

function busy(): MatrixError {
  return new MatrixError('M_UNKNOWN', 'This server is being set up already', { status: 409 });
}

function alreadyDone(): MatrixError {
  return forbidden('This server is set up already. Settings can be changed on their page.');
}
