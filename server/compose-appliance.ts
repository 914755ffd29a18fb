/** Puts together what a desktop program adds to the homeserver, and what keeps the homeserver running. */
import { join } from 'node:path';
import { Announcer } from './appliance/announcer.ts';
import { backupCalls } from './appliance/backups/calls.ts';
import { systemDisk } from './appliance/backups/disk.ts';
import { fileSecrets, type SecretStore } from './appliance/backups/records.ts';
import { Backups } from './appliance/backups/service.ts';
import { finishRestore } from './appliance/backups/swap.ts';
import type { ControlCall } from './appliance/control/call.ts';
import { createControlServer } from './appliance/control/control-server.ts';
import { Sessions } from './appliance/control/sessions.ts';
import type { World } from './appliance/doctor/world.ts';
import type { Homeserver } from './appliance/homeserver.ts';
import { invitationCalls } from './appliance/invitations/calls.ts';
import { jobCalls } from './appliance/jobs/calls.ts';
import { Jobs } from './appliance/jobs/jobs.ts';
import { mediaCalls } from './appliance/media/calls.ts';
import { Problems } from './appliance/logs/problems.ts';
import { peopleCalls } from './appliance/people/calls.ts';
import { roomCalls } from './appliance/rooms/calls.ts';
import { showResumedPurges } from './appliance/rooms/work.ts';
import { Keeper } from './appliance/lifecycle/keeper.ts';
import { MachineWatch } from './appliance/lifecycle/machine-watch.ts';
import { listOwnAddresses } from './appliance/setup/own-addresses.ts';
import { ReachWatch } from './appliance/status/reach-watch.ts';
import type { DoctorReport } from './appliance/contract.ts';
import { clientUrls } from './appliance-ports/client-url.ts';
import { ConfigWatch } from './appliance-ports/config-watch.ts';
import { house } from './appliance-ports/house.ts';
import { reachability } from './appliance-ports/reachability.ts';
import type { Config, loadConfig } from './config/config.ts';
import type { ComposeNeeds } from './compose.ts';
import type { RunningHomeserver } from './cli/running-server.ts';
import { StorageError } from './storage/storage-error.ts';
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
  /** The level of the log was changed in the configuration. */
  readonly setLogLevel?: ((level: Config['log']['level']) => void) | undefined;
  /** What the doctor sees of the world; this machine's own unless told. */
  readonly world?: Partial<World> | undefined;
  /** Where the shell keeps secrets; in files unless given. */
  readonly secrets?: SecretStore | undefined;
  /** Whether sleep, other networks and the way here are looked for without anybody asking for it; true unless told. */
  readonly watchesReach?: boolean | undefined;
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
  const { clock, random, dataDir, overrides } = needs;
  const announcer = new Announcer();
  const problems = new Problems({ clock, announcer });
  const log = problems.listen(needs.log);
  const watch = new ConfigWatch({ dataDir, overrides });
  const keeper: Keeper = new Keeper({ clock, log, announcer, begin: () => beginHomeserver({ ...needs, log }, watch) });
  const jobs = new Jobs({ clock, random, log, announcer });
  const sessions = new Sessions({
    clock,
    random,
    shellToken: needs.shellToken,
    accounts: {
      signIn: (username, password) => keeper.get().ports.accounts.signIn(username, password),
      standingOf: (userId) => {
        const accounts = keeper.find()?.ports.accounts;
        try {
          return accounts === undefined ? 'unknown' : accounts.standingOf(userId);
        } catch (error) {
          // What is wrong with the database, the page is there to say.
          if (error instanceof StorageError) return 'unknown';
          throw error;
        }
      },
    },
  });

  const backups = new Backups({
    clock,
    random,
    log,
    announcer,
    jobs,
    keeper,
    dataDir: needs.dataDir,
    secrets: needs.secrets ?? fileSecrets(needs.dataDir),
    disk: systemDisk,
    // What they need of the server is much, and mostly nobody asks.
    openSource: async () => (await import('./appliance-ports/backups.ts')).openBackupSource(needs.dataDir),
    adopt: async (...unpacked) => {
      const { createAdopt } = await import('./appliance-ports/backups.ts');
      await createAdopt({ log, now: () => clock.now() })(...unpacked);
    },
  });

  const { calls: reachabilityCalls, doctor } = reachability({
    ...needs,
    draft: () => frame.draft(),
    jobs,
    announcer,
    findHomeserver: () => keeper.find(),
    network: needs.network,
  });

  const wake = (): void => {
    keeper.find()?.wake();
    keeper.wake();
    backups.wake();
    reach.wake();
  };
  const machine = new MachineWatch({ clock, log, addresses: listOwnAddresses, onWake: wake });
  const reach = new ReachWatch({
    clock,
    log,
    isWanted: () => keeper.find() !== undefined && frame.isSetUp(),
    last: () => lastLook(),
    look: async (signal) => {
      await doctor.recheck(signal);
      announcer.moved('status');
    },
  });
  const lastLook = (): DoctorReport | undefined => {
    const name = watch.facts()?.serverName;
    return name === undefined ? undefined : doctor.last(name);
  };
  const frame = house({
    ...needs,
    log,
    announcer,
    keeper,
    problems,
    watch,
    network: needs.network,
    wake,
    backups,
    doctor: lastLook,
  });

  const calls: readonly ControlCall[] = [
    ...jobCalls(jobs),
    ...frame.calls,
    ...reachabilityCalls,
    ...backupCalls(backups),
    ...peopleCalls({ port: () => keeper.get().ports.people, announcer }),
    ...invitationCalls({ homeserver: () => keeper.get(), announcer }),
    ...roomCalls({ port: () => keeper.get().ports.rooms, jobs, announcer }),
    ...mediaCalls({ port: () => keeper.get().ports.media, jobs, announcer, clock }),
  ];
  const resumed = showResumedPurges({
    port: () => keeper.get().ports.rooms,
    find: () => keeper.find()?.ports.rooms,
    jobs,
    announcer,
  });
  const control = createControlServer({
    clock,
    log,
    announcer,
    sessions,
    calls,
    pages: needs.pages,
    port: needs.controlPort,
  });

  let stopping = false;
  return {
    keeper,
    createLink: () => sessions.createLink(),
    start: async () => {
      const url = await control.start();
      frame.start();
      if (needs.watchesReach !== false) {
        machine.start();
        reach.start();
      }
      // The interface tells how it goes; nobody has to wait for it here.
      void keeper.start().then(() => {
        if (!stopping) backups.start();
      });
      return url;
    },
    stop: async () => {
      stopping = true;
      machine.stop();
      await reach.stop();
      resumed.unsubscribe();
      backups.stop();
      await jobs.stop();
      await keeper.stop();
      await frame.stop();
      await control.stop();
    },
    wake,
    reload: () => keeper.find()?.reload(),
  };
}

async function beginHomeserver(needs: ApplianceNeeds, watch: ConfigWatch): Promise<Homeserver> {
  const { dataDir, log, startServer } = needs;
  const restored = finishRestore(dataDir);
  if (restored !== undefined) log.warn({ ...restored }, 'a restoration that was interrupted is finished');
  const { config, warnings } = watch.begin();
  for (const warning of warnings) log.warn({ option: warning }, 'an option has no effect');
  const server = await startServer(config, log, {});
  return {
    serverName: config.serverName,
    // This machine may be given another address while it runs.
    get clientUrl() {
      return clientUrls(config, server.addresses)[0];
    },
    get clientUrls() {
      return clientUrls(config, server.addresses);
    },
    ports: server.ports,
    addresses: server.addresses,
    stop: () => server.stop(),
    reload: () => server.reload(),
    wake: () => server.wake(),
  };
}

/** Where the interface is built to, unless it is packaged. */
export const builtPages = join(import.meta.dirname, '..', 'build', 'renderer');
