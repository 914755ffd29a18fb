import { MatrixError, forbidden } from '../../matrix/errors.ts';
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/log.ts';
import type { Announcer } from '../announcer.ts';
import type {
  Changed,
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
import { clientSteps } from './client-steps.ts';
import type { SetupNotebook } from './draft.ts';
import { checkName, listOwnAddresses, type NameWorld } from './name-check.ts';
import { checkSpelling, HOME_NAME } from './names.ts';
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
    const { keeper, files, notebook } = this.#needs;
    const current = files.serverName();
    const fallback: SetupDraft = {
      reach: 'home',
      serverName: current === undefined || current === NAMELESS ? HOME_NAME : current,
    };
    const isDone = this.isDone();
    const nameIsFinal = keeper.find()?.ports.accounts.hasPeople() ?? isDone;
    const draft = notebook.notes.draft ?? fallback;
    return {
      isDone,
      nameIsFinal,
      draft: nameIsFinal && current !== undefined ? { ...draft, serverName: current } : draft,
      suggestions: { homeName: HOME_NAME, addresses: listOwnAddresses() },
      usernameRules: USERNAME_RULES,
    };
  }

  /** Keeps the answers so far; they need not be good ones yet. Throws M_FORBIDDEN for a name that is final. */
  put(draft: SetupDraft): Setup {
    const { notebook, files, dataDir, announcer } = this.#needs;
    if (this.isDone()) throw alreadyDone();
    const { nameIsFinal } = this.get();
    if (nameIsFinal && draft.serverName !== files.serverName()) {
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
    const { serverName } = this.get().draft;
    const draft = withoutEmpty({ ...change, serverName });
    const [wrong] = checkSpelling(draft.reach, serverName).filter(({ verdict }) => verdict === 'bad');
    if (wrong !== undefined) throw refusal('reach', `${wrong.text} The name of a server stays as it is.`);
    checkPair(draft);
    const needsRestart = files.changeReach(draft);
    notebook.put({ draft, isDone: true });
    announcer.moved('setup');
    announcer.moved('settings');
    return { needsRestart };
  }

  checkName(reach: Reach, serverName: string): Promise<NameCheck> {
    return checkName({ reach, serverName, current: this.#needs.files.serverName() }, this.#needs);
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
    return problems;
  }

  /**
   * Gives the server its name and its first account. Nothing is final before the account is there: broken off at any moment,
   * the next start finds a whole server, and this can be called again. Throws a MatrixError with the `field` at fault.
   */
  async finish(account: NewAccount): Promise<SetupDone> {
    if (this.#isFinishing) throw new MatrixError('M_UNKNOWN', 'This server is being set up already', { status: 409 });
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
    return { serverName, userId, clientUrl, clients: clientSteps({ serverName, userId, clientUrl }) };
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
    const { draft } = this.get();
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
function withoutEmpty({ reach, serverName, publicUrl, certificatePath, privateKeyPath }: SetupDraft): SetupDraft {
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

function alreadyDone(): MatrixError {
  return forbidden('This server is set up already. Settings can be changed on their page.');
}
