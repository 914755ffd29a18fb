import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { loadConfig } from '../config/config.ts';
import { defaultDataDir, hasConfig } from '../config/data-dir.ts';
import { fileError } from '../config/source.ts';
import type { Config, ListenerConfig } from '../config/types.ts';
import { isJsonObject, type JsonObject } from '../matrix/json.ts';
import { type Command, CommandError, parseFlags, UsageError } from './command.ts';
import { askTwice, Prompt } from './prompt.ts';

const DEFAULT_URL = 'http://localhost:8008';
const TIMEOUT_MS = 30_000;
const PATH = '/_synapse/admin/v1/register';

export const registerUser: Command = {
  name: 'register-user',
  help: `Usage: hearth register-user [options] [URL]

Creates an account on a running server, whose configuration has a registration_shared_secret. What is not given is
asked for. URL is where the server answers; without it, the configuration tells, or it is ${DEFAULT_URL}.

  -u, --user NAME          the part of the user ID before the colon
  -p, --password PASSWORD  the password
  --password-file FILE     a file with the password
  -a, --admin              the user is an administrator of the server
  --no-admin               the user is none
  -t, --user-type TYPE     the type of the account, such as support or bot
  -c, --config FILE        a configuration to take the secret from; may be given several times
  --data-dir DIR           a data directory whose configuration to take it from
  -k, --shared-secret KEY  the secret itself
  --exists-ok              do not fail if there is such a user already`,
  run: async (args, terminal) => {
    const { values, positionals } = parseFlags(args, {
      options: {
        user: { type: 'string', short: 'u' },
        password: { type: 'string', short: 'p' },
        'password-file': { type: 'string' },
        admin: { type: 'boolean', short: 'a' },
        'no-admin': { type: 'boolean' },
        'user-type': { type: 'string', short: 't' },
        user_type: { type: 'string' },
        config: { type: 'string', short: 'c', multiple: true },
        'data-dir': { type: 'string' },
        'shared-secret': { type: 'string', short: 'k' },
        'exists-ok': { type: 'boolean' },
      },
      allowPositionals: true,
    });
    if (values.admin === true && values['no-admin'] === true) throw new UsageError('--admin and --no-admin contradict');
    if (positionals.length > 1) throw new UsageError('only one URL can be given');
    const { secret, url } = findServer(values, positionals[0]);
    const account = await completeAccount({
      username: values.user,
      password: readPassword(values.password, values['password-file']),
      admin: values.admin === true ? true : values['no-admin'] === true ? false : undefined,
    });
    const userType = values['user-type'] ?? values.user_type;
    try {
      const userId = await register(url, secret, { ...account, userType });
      terminal.print(`Created ${userId}`);
    } catch (error) {
      if (!(error instanceof UserExists) || values['exists-ok'] !== true) throw error;
      terminal.print(`There is a user ${account.username} already, nothing was changed`);
    }
    return 0;
  },
};

class UserExists extends CommandError {}

interface Account {
  readonly username: string;
  readonly password: string;
  readonly admin: boolean;
  readonly userType: string | undefined;
}

function findServer(
  values: {
    readonly config?: string[] | undefined;
    readonly 'data-dir'?: string | undefined;
    readonly 'shared-secret'?: string | undefined;
  },
  givenUrl: string | undefined,
): { readonly secret: string; readonly url: URL } {
  const { 'shared-secret': givenSecret, 'data-dir': dataDir, config: files } = values;
  const sources = [givenSecret, dataDir, files].filter((source) => source !== undefined);
  if (sources.length > 1) throw new UsageError('only one of --shared-secret, --config and --data-dir can be given');
  const config = givenSecret === undefined ? findConfig(files, dataDir) : undefined;
  const secret = givenSecret ?? config?.registration.sharedSecret;
  if (secret === undefined || secret === '') {
    throw new CommandError(
      config === undefined
        ? 'There is no configuration to take the shared secret from; use --config, --data-dir or --shared-secret'
        : `${config.files.join(', ')}: has no registration_shared_secret`,
    );
  }
  const text = givenUrl ?? (config === undefined ? DEFAULT_URL : clientUrl(config.listeners));
  const url = URL.parse(PATH, text);
  if (url === null || !['http:', 'https:'].includes(url.protocol)) throw new UsageError(`"${text}" is no URL`);
  return { secret, url };
}

function findConfig(files: string[] | undefined, dataDir: string | undefined): Config | undefined {
  if (files !== undefined) return loadConfig({ configPath: files }).config;
  const directory = dataDir ?? defaultDataDir();
  return dataDir !== undefined || hasConfig(directory) ? loadConfig({ dataDir: directory }).config : undefined;
}

/** Where clients on this machine reach the server. */
function clientUrl(listeners: readonly ListenerConfig[]): string {
  const usable = listeners.filter(({ port, resources }) => port !== undefined && resources.includes('client'));
  const listener = usable.find(({ tls }) => !tls) ?? usable[0];
  if (listener?.port === undefined) return DEFAULT_URL;
  const [address = 'localhost'] = listener.bindAddresses;
  const host =
    address === '::' || address === '0.0.0.0' ? 'localhost' : address.includes(':') ? `[${address}]` : address;
  return `${listener.tls ? 'https' : 'http'}://${host}:${listener.port}`;
}

function readPassword(given: string | undefined, file: string | undefined): string | undefined {
  if (file === undefined) return given;
  if (given !== undefined) throw new UsageError('only one of --password and --password-file can be given');
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new CommandError(`${file} cannot be read: ${fileError(error)}`, { cause: error });
  }
}

async function completeAccount(given: {
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly admin: boolean | undefined;
}): Promise<Omit<Account, 'userType'>> {
  let { username, password, admin } = given;
  if (username !== undefined && password !== undefined && admin !== undefined) return { username, password, admin };
  const prompt = new Prompt();
  try {
    if (username === undefined) {
      const own = userInfo().username.toLowerCase();
      username = (await prompt.ask(`User name [${own}]: `)).trim() || own;
    }
    // Before the password, so that the password can end the questions.
    admin ??= /^y(?:es)?$/i.test((await prompt.ask('Administrator of the server? [no]: ')).trim());
    password ??= await askTwice('Password: ', 'Once more: ', prompt);
  } finally {
    prompt.close();
  }
  return { username, password, admin };
}

// Shared-secret registration: a nonce, then a request signed with it (HMAC-SHA1 over the parts, with NULs between).
async function register(url: URL, secret: string, account: Account): Promise<string> {
  if (account.password === '') throw new CommandError('The password is empty');
  const { nonce } = await request(url, { method: 'GET' });
  if (typeof nonce !== 'string') throw new CommandError(`${url.origin} does not answer like a Matrix homeserver`);
  const { username, password, admin, userType } = account;
  const parts = [
    nonce,
    username,
    password,
    admin ? 'admin' : 'notadmin',
    ...(userType === undefined ? [] : [userType]),
  ];
  const mac = createHmac('sha1', secret).update(parts.join('\0')).digest('hex');
  const body = { nonce, username, password, admin, mac, ...(userType === undefined ? {} : { user_type: userType }) };
  const answer = await request(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return typeof answer['user_id'] === 'string' ? answer['user_id'] : username;
}

async function request(url: URL, init: RequestInit): Promise<JsonObject> {
  let response: Response;
  let body: string;
  try {
    response = await fetch(url, { ...init, redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) });
    body = await response.text();
  } catch (error) {
    throw new CommandError(`No answer from ${url.origin}: ${networkReason(error)}`, { cause: error });
  }
  const content = parseObject(body);
  if (response.ok) return content;
  const { errcode, error } = content;
  const reason = typeof error === 'string' ? error : `HTTP status ${response.status}`;
  if (errcode === 'M_USER_IN_USE') throw new UserExists(reason);
  throw new CommandError(`${url.origin} refuses: ${typeof errcode === 'string' ? `${errcode}: ` : ''}${reason}`);
}

function parseObject(text: string): JsonObject {
  try {
    const content: unknown = JSON.parse(text);
    return isJsonObject(content) ? content : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

function networkReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return 'it takes too long';
  const cause: unknown = error.cause;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  if (code === 'ECONNREFUSED') return 'no server is running there';
  if (code === 'ENOTFOUND') return 'there is no host of that name';
  return cause instanceof Error && cause.message !== '' ? cause.message : error.message;
}
