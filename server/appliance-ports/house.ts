/** Setting up, the state of things, the settings and the log, made of what the appliance has. */
import { join } from 'node:path';
import type { Announcer } from '../appliance/announcer.ts';
import { isBackupName } from '../appliance/backups/catalogue.ts';
import type { Backups } from '../appliance/backups/service.ts';
import type { DoctorReport, SetupDraft } from '../appliance/contract.ts';
import type { ControlCall } from '../appliance/control/call.ts';
import type { Keeper } from '../appliance/lifecycle/keeper.ts';
import { logCalls } from '../appliance/logs/calls.ts';
import type { Problems } from '../appliance/logs/problems.ts';
import { settingsCalls } from '../appliance/settings/calls.ts';
import { SettingsDesk } from '../appliance/settings/settings.ts';
import { setupCalls } from '../appliance/setup/calls.ts';
import { SetupNotebook } from '../appliance/setup/draft.ts';
import { SetupDesk } from '../appliance/setup/setup.ts';
import { createNameWorld } from '../appliance/setup/world.ts';
import { StatusBoard } from '../appliance/status/board.ts';
import { CertificateWatch } from '../appliance/status/certificate-watch.ts';
import { statusCalls } from '../appliance/status/calls.ts';
import { readVersion } from '../cli/version.ts';
import type { ComposeNeeds } from '../compose.ts';
import type { LoadOptions } from '../config/config.ts';
import type { Config } from '../config/types.ts';
import type { Clock } from '../util/clock.ts';
import type { Logger } from '../util/log.ts';
import type { Random } from '../util/random.ts';
import { configFile } from './config-file.ts';
import type { ConfigWatch } from './config-watch.ts';
import { setupFiles } from './setup-files.ts';

export interface HouseNeeds {
  readonly dataDir: string;
  readonly overrides: NonNullable<LoadOptions['overrides']>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly announcer: Announcer;
  readonly keeper: Keeper;
  readonly problems: Problems;
  readonly watch: ConfigWatch;
  readonly network: ComposeNeeds['network'] | undefined;
  readonly setLogLevel?: ((level: Config['log']['level']) => void) | undefined;
  readonly wake: () => void;
  readonly backups: Pick<Backups, 'directory' | 'standing'>;
  /** What was last found out about the way here. */
  readonly doctor: () => DoctorReport | undefined;
}

export interface House {
  readonly calls: readonly ControlCall[];
  /** From where the server is reached, or is to be once it is set up. */
  readonly draft: () => SetupDraft;
  readonly isSetUp: () => boolean;
  start(): void;
  stop(): Promise<void>;
}

export function house(needs: HouseNeeds): House {
  const { dataDir, overrides, clock, random, log, announcer, keeper, watch, network } = needs;
  const file = configFile(dataDir, overrides);
  const settings = new SettingsDesk({
    file,
    onReload: () => {
      needs.setLogLevel?.(watch.load().log.level);
      keeper.find()?.reload();
    },
    onChanged: () => announcer.moved('settings'),
    inUse: () => (keeper.find() === undefined ? undefined : watch.inUse),
    registration: () => keeper.find()?.ports.registration,
  });
  const world = createNameWorld({ clock, random, dns: network?.dns, dial: network?.dial });
  const notebook = new SetupNotebook(join(dataDir, 'setup.json'));
  const files = setupFiles({ dataDir, overrides, random, clock });
  const setup = new SetupDesk({
    clock,
    log,
    announcer,
    keeper,
    notebook,
    files,
    world,
    dataDir,
    doctor: needs.doctor,
    platform: process.platform,
  });
  const board = new StatusBoard({
    clock,
    announcer,
    keeper,
    facts: () => watch.facts(),
    isSetUp: () => setup.isDone(),
    doctor: needs.doctor,
    version: readVersion(),
    dataDir,
    backups: {
      get directory() {
        return needs.backups.directory;
      },
      standing: () => needs.backups.standing(),
      isBackup: isBackupName,
    },
    config: () => watch.standing(() => settings.list(), keeper.find()?.ports.registration.mode),
  });
  const certificate = new CertificateWatch({
    clock,
    log,
    inUse: () => watch.certificate,
    reload: () => keeper.find()?.reload(),
  });
  return {
    calls: [
      ...statusCalls({ board, keeper, about: () => watch.about(file.path), wake: needs.wake }),
      ...setupCalls(setup),
      ...settingsCalls(settings),
      ...logCalls({ problems: needs.problems, logFile: () => watch.logFile() }),
    ],
    draft: () => setup.draft(),
    isSetUp: () => setup.isDone(),
    start: () => {
      board.start();
      certificate.start();
    },
    stop: async () => {
      board.stop();
      certificate.stop();
      await world.close();
    },
  };
}
