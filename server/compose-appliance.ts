/** Puts together what a desktop program adds to the homeserver, and what keeps the homeserver running. */
import { join } from 'node:path';
import { Announcer } from './appliance/announcer.ts';
import type { ControlCall } from './appliance/control/call.ts';
import { createControlServer } from './appliance/control/control-server.ts';
import { Sessions } from './appliance/control/sessions.ts';
import type { Homeserver } from './appliance/homeserver.ts';
import { jobCalls } from './appliance/jobs/calls.ts';
import { Jobs } from './appliance/jobs/jobs.ts';
import { Keeper } from './appliance/lifecycle/keeper.ts';
import { loadConfig, type Config } from './config/config.ts';
import type { ComposeNeeds } from './compose.ts';
import type { RunningHomeserver, RunningServer } from './cli/running-server.ts';
import type { Clock } from './util/clock.ts';
import type { Logger } from './util/log.ts';
import type { Random } from './util/random.ts';

export interface ApplianceNeeds {
  readonly dataDir: string;
  readonly overrides: NonNullable<Parameters<typeof loadConfig>[0]['overrides']>;
  /** 0 lets the system choose. */
  readonly controlPort: number;
  /** Given by the shell that started this program; good for all calls. */
  readonly shellToken?: string | undefined;
  /** Where the built interface lies. */
  readonly pages: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Loaded when it is called: the interface is there before the homeserver is. */
  readonly startServer: (config: Config, log: Logger, options: object) => Promise<RunningHomeserver>;
  readonly network?: NonNullable<ComposeNeeds['network']>;
}

export interface Appliance {
  /** The address of the interface, without a slash at its end; not open yet before `start`. */
  start(): Promise<string>;
  stop(): Promise<void>;
  /** The machine slept, or its network changed. */
  wake(): void;
  /** Reads certificates anew. */
  reload(): void;
  /** The secret of a link to the interface, good once. */
  createLink(): string;
  readonly keeper: Pick<Keeper, 'state'>;
}

/** Makes every part of the appliance. Starts nothing. */
export function composeAppliance(needs: ApplianceNeeds): Appliance {
  const { clock, random, log } = needs;
  const announcer = new Announcer();
  const keeper: Keeper = new Keeper({ clock, log, announcer, begin: () => beginHomeserver(needs) });
  const jobs = new Jobs({ clock, random, log, announcer });
  const sessions = new Sessions({
    clock,
    random,
    shellToken: needs.shellToken,
    checkAccount: (username, password) => keeper.get().ports.accounts.isAdministrator(username, password),
  });

  const calls: readonly ControlCall[] = [...jobCalls(jobs)];
  const control = createControlServer({
    clock,
    log,
    announcer,
    sessions,
    calls,
    pages: needs.pages,
    port: needs.controlPort,
  });

  return {
    keeper,
    createLink: () => sessions.createLink(),
    start: async () => {
      const url = await control.start();
      // The interface tells how it goes; nobody has to wait for it here.
      void keeper.start();
      return url;
    },
    stop: async () => {
      await jobs.stop();
      await keeper.stop();
      await control.stop();
    },
    wake: () => keeper.find()?.wake(),
    reload: () => keeper.find()?.reload(),
  };
}

async function beginHomeserver({ dataDir, overrides, log, startServer }: ApplianceNeeds): Promise<Homeserver> {
  const { config, warnings } = loadConfig({ dataDir, overrides, makeFiles: true });
  for (const warning of warnings) log.warn({ option: warning }, 'an option has no effect');
  const server = await startServer(config, log, {});
  return {
    serverName: config.serverName,
    clientUrl: clientUrlOf(config, server),
    ports: server.ports,
    stop: () => server.stop(),
    reload: () => server.reload(),
    wake: () => server.wake(),
  };
}

function clientUrlOf({ publicBaseUrl, publicBaseUrlGiven }: Config, { addresses }: RunningServer): string {
  if (publicBaseUrlGiven) return publicBaseUrl.replace(/\/$/, '');
  const client = addresses.find(({ resources, port }) => resources.includes('client') && port !== 0);
  return client === undefined
    ? publicBaseUrl.replace(/\/$/, '')
    : `${client.tls ? 'https' : 'http'}://localhost:${client.port}`;
}

/** Where the interface is built to, unless it is packaged. */
export const builtPages = join(import.meta.dirname, '..', 'build', 'renderer');
