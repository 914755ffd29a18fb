/**
 * Starts the desktop program for a story: in Electron's runtime where that is installed (through Playwright), and else on
 * the stand-in for it. A story has work done in the main process by either in the same way.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type * as Electron from 'electron';
import { _electron } from 'playwright-core';
import { APP, bundle } from '../../build/bundle.ts';
import { ICONS, makeIcons } from '../../build/icons.ts';
import type { Bridge, ShellInfo } from '../../main/contract.ts';
import { makeDataDir } from '../../server/config/data-dir.ts';
import { eventually } from '../kit/test-network.ts';
import type * as StandIn from './stand-in/electron.ts';
import type { StandInSettings } from './stand-in/world.ts';

const root = join(import.meta.dirname, '..', '..');

/** Electron's program, where its runtime was downloaded. */
export const runtime: string | undefined = (() => {
  const note = join(root, 'node_modules', 'electron', 'path.txt');
  const found = existsSync(note)
    ? join(root, 'node_modules', 'electron', 'dist', readFileSync(note, 'utf8'))
    : undefined;
  return found !== undefined && existsSync(found) ? found : undefined;
})();
export const ranWith = runtime === undefined ? 'the stand-in for Electron' : "Electron's own runtime";

/** Waits as `eventually` does, and longer: a whole program starts, on a machine that may have much to do. */
export function soon<Found>(what: string, check: Parameters<typeof eventually<Found>>[1]): Promise<Found> {
  return eventually(what, check, 90_000);
}

export interface LaunchOptions {
  /** Of an earlier launch, to go on from there. */
  readonly home?: Home;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Even where Electron's runtime is. */
  readonly onStandIn?: boolean;
  /** What the stand-in runs; the source unless told. */
  readonly program?: string;
  /** Of the stand-in alone. */
  readonly standIn?: Partial<StandInSettings>;
}

/** The folder that everything of a program is kept in. */
export class Home implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'hearth-shell-'));
  readonly data = join(this.path, 'data');
  readonly shell = join(this.path, 'shell');

  /** With a server whose ports the system chooses, so that stories do not meet. */
  static create(): Home {
    const home = new Home();
    makeDataDir(home.data, { serverName: 'localhost', clientPort: 0 });
    return home;
  }

  read(...path: string[]): string {
    return readFileSync(join(this.path, ...path), 'utf8');
  }

  has(...path: string[]): boolean {
    return existsSync(join(this.path, ...path));
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

type Evaluate = <R, A>(work: (electron: typeof Electron, argument: A) => R | Promise<R>, argument: A) => Promise<R>;

interface Program {
  readonly evaluate: Evaluate;
  readonly ended: Promise<number | null>;
  readonly output: () => string;
  kill(): void;
}

/** The desktop program as it runs. */
export class RunningShell implements AsyncDisposable {
  readonly home: Home;
  readonly evaluate: Evaluate;
  /** Its exit code, once it has ended. */
  readonly ended: Promise<number | null>;
  readonly #program: Program;
  readonly #keepsHome: boolean;

  constructor(program: Program, home: Home, keepsHome: boolean) {
    this.#program = program;
    this.#keepsHome = keepsHome;
    this.home = home;
    this.evaluate = program.evaluate;
    this.ended = program.ended;
  }

  get output(): string {
    return this.#program.output();
  }

  /** What the stand-in alone can tell: of trays and notifications, Electron itself tells nobody. */
  standIn<R, A>(work: (electron: typeof StandIn, argument: A) => R | Promise<R>, argument: A): Promise<R> {
    return this.evaluate(work as unknown as (electron: typeof Electron, argument: A) => R | Promise<R>, argument);
  }

  /** Runs a script in the window's page. */
  page<R>(script: string): Promise<R> {
    return this.evaluate(
      ({ BrowserWindow }, code) => BrowserWindow.getAllWindows()[0]?.webContents.executeJavaScript(code) as Promise<R>,
      script,
    );
  }

  /** Asks through the bridge, as the page does. */
  bridge<Name extends Exclude<keyof Bridge, 'onChange'>>(
    name: Name,
    ...args: Parameters<Bridge[Name]>
  ): Promise<Awaited<ReturnType<Bridge[Name]>>> {
    return this.page(`window.hearth.${name}(${args.map((each) => JSON.stringify(each)).join(', ')})`);
  }

  /** A call of the control API, as the page makes it. */
  control<Body>(name: string, body?: object): Promise<{ status: number; body: Body }> {
    const [method, path] = name.split(' ');
    const content = body === undefined ? '' : `, body: ${JSON.stringify(JSON.stringify(body))}`;
    return this.page(
      `fetch('/_hearth/control${path}', { method: '${method}', headers: { 'content-type': 'application/json' }${content} })` +
        '.then(async (r) => ({ status: r.status, body: await r.json() }))',
    );
  }

  /** Chooses an item of the program's menu. */
  async menu(id: string): Promise<void> {
    await this.evaluate(({ Menu }, item) => Menu.getApplicationMenu()?.getMenuItemById(item)?.click(), id);
  }

  /** Waits until the page is there and what the shell says of itself is so. */
  async until(what: string, is: (info: ShellInfo) => boolean): Promise<ShellInfo> {
    let info: ShellInfo | undefined;
    try {
      await soon(what, async () => {
        info = await this.bridge('getShell').catch(() => undefined);
        return info !== undefined && is(info);
      });
    } catch (error) {
      throw new Error(`${what}: ${JSON.stringify(info)}\n${this.output}`, { cause: error });
    }
    if (info === undefined) throw new Error('unreachable');
    return info;
  }

  /** Ends it as a crash does. */
  kill(): void {
    this.#program.kill();
  }

  async quit(): Promise<number | null> {
    await this.evaluate(({ app }) => app.quit(), undefined);
    return this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // In order, so that its server has ended as well and makes no files after they were removed.
    const force = setTimeout(() => this.#program.kill(), 60_000);
    // Where it has ended already, there is nobody to ask.
    await this.quit().catch(() => this.ended);
    clearTimeout(force);
    if (!this.#keepsHome) this.home[Symbol.dispose]();
  }
}

/** Starts the program. With `home` of the caller's, that stays when the program is disposed of. */
export async function launch(options: LaunchOptions = {}): Promise<RunningShell> {
  const home = options.home ?? Home.create();
  const env = {
    ...process.env,
    NODE_OPTIONS: '',
    XDG_CONFIG_HOME: join(home.path, 'config'),
    XDG_CACHE_HOME: join(home.path, 'cache'),
    HEARTH_HOME: home.path,
    ...options.env,
  };
  mkdirSync(env.XDG_CONFIG_HOME, { recursive: true });
  const program =
    runtime === undefined || options.onStandIn === true
      ? await onStandIn(home, env, options)
      : await inElectron(runtime, env, options);
  return new RunningShell(program, home, options.home !== undefined);
}

let prepared: Promise<void> | undefined;

async function onStandIn(
  home: Home,
  env: NodeJS.ProcessEnv,
  { args = [], standIn, program = join(root, 'main', 'main.ts') }: LaunchOptions,
): Promise<Program> {
  prepared ??= existsSync(join(ICONS, 'hearth-256.png')) ? Promise.resolve() : makeIcons();
  await prepared;
  const settings: StandInSettings = {
    root,
    appData: join(home.path, 'app-data'),
    version: '0.1.0',
    isPackaged: false,
    resources: join(home.path, 'resources'),
    keyStore: 'gnome_libsecret',
    ...standIn,
  };
  const child = fork(program, args, {
    env: { ...env, HEARTH_STAND_IN: JSON.stringify(settings) },
    execArgv: ['--import', new URL('stand-in/register.ts', import.meta.url).href],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  return programOf(child);
}

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

function programOf(child: ChildProcess): Program {
  const ended = new Promise<number | null>((resolve) => void child.once('exit', (code) => resolve(code)));
  const waiting = new Map<number, (answer: Answer) => void>();
  let ids = 0;
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (piece: Buffer) => {
      output += piece.toString();
    });
  }
  child.on('message', (answer) => {
    const { id } = answer as Answer;
    waiting.get(id)?.(answer as Answer);
  });
  child.once('exit', () => {
    for (const [id, answer] of waiting) answer({ id, error: `the program has ended\n${output}` });
  });
  return {
    ended,
    output: () => output,
    kill: () => void child.kill('SIGKILL'),
    evaluate: async <R, A>(work: (electron: typeof Electron, argument: A) => R | Promise<R>, argument: A) => {
      const id = ids++;
      const { promise, resolve } = Promise.withResolvers<Answer>();
      waiting.set(id, resolve);
      if (!child.connected) throw new Error(`the program has ended\n${output}`);
      child.send({ id, source: work.toString(), argument });
      const answer = await promise;
      waiting.delete(id);
      if (answer.error !== undefined) throw new Error(answer.error);
      return answer.result as R;
    },
  };
}

async function inElectron(
  executablePath: string,
  env: NodeJS.ProcessEnv,
  { args = [] }: LaunchOptions,
): Promise<Program> {
  prepared ??= bundle();
  await prepared;
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const electron = await _electron.launch({
    executablePath,
    args: [...sandbox, APP, ...args],
    env: Object.fromEntries(Object.entries(env).filter((each): each is [string, string] => each[1] !== undefined)),
  });
  const child = electron.process();
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (piece: Buffer) => {
      output += piece.toString();
    });
  }
  return {
    ended: new Promise((resolve) => void child.once('exit', (code) => resolve(code))),
    output: () => output,
    kill: () => void child.kill('SIGKILL'),
    evaluate: (work, argument) => electron.evaluate(work as never, argument as never),
  };
}
