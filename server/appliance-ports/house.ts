/** Setting up, the state of things, the settings and the log, made of what the appliance has. */
import { join } from 'node:path';
import type { Announcer } from '../appliance/announcer.ts';
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
  readonly backupDirectory: () => string;
  /** What was last found out about the way here. */
  readonly doctor: () => DoctorReport | undefined;
}

export interface House {
  readonly calls: readonly ControlCall[];
  /** The answers that setting up began with. */
  readonly draft: () => SetupDraft | undefined;
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
  });
  const world = createNameWorld({ clock, random, dns: network?.dns, dial: network?.dial });
  const notebook = new SetupNotebook(join(dataDir, 'setup.json'));
  const files = setupFiles({ dataDir, overrides, random });
  const setup = new SetupDesk({ clock, log, announcer, keeper, notebook, files, world, dataDir });
  const board = new StatusBoard({
    clock,
    announcer,
    keeper,
    facts: () => watch.facts(),
    isSetUp: () => setup.isDone(),
    doctor: needs.doctor,
    version: readVersion(),
    dataDir,
    backupDirectory: needs.backupDirectory,
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
    draft: () => notebook.notes.draft,
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
