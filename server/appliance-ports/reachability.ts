/** The doctor, the guidance and the TURN servers, made of what the appliance has. */
import { join } from 'node:path';
import type { Announcer } from '../appliance/announcer.ts';
import { callsCalls } from '../appliance/calls/calls.ts';
import type { SetupDraft } from '../appliance/contract.ts';
import type { ControlCall } from '../appliance/control/call.ts';
import { delegationCalls } from '../appliance/delegation/calls.ts';
import type { DelegationFacts } from '../appliance/delegation/facts.ts';
import { scopeOf } from '../appliance/doctor/addresses.ts';
import { doctorCalls } from '../appliance/doctor/calls.ts';
import { Doctor } from '../appliance/doctor/doctor.ts';
import { ReportFile } from '../appliance/doctor/report-file.ts';
import { createWorld, dnsOf, type World } from '../appliance/doctor/world.ts';
import type { Homeserver } from '../appliance/homeserver.ts';
import type { Jobs } from '../appliance/jobs/jobs.ts';
import { listOwnAddresses } from '../appliance/setup/own-addresses.ts';
import type { ComposeNeeds } from '../compose.ts';
import { loadConfig, type LoadOptions } from '../config/config.ts';
import { ConfigError } from '../config/problems.ts';
import { loadSigningKeys } from '../config/signing-key.ts';
import type { Config } from '../config/types.ts';
import { ProxyChoice } from '../federation/outbound/proxy.ts';
import { MatrixError } from '../matrix/errors.ts';
import type { JsonObject } from '../matrix/json.ts';
import type { Clock } from '../util/clock.ts';
import type { Random } from '../util/random.ts';
import { configFile } from './config-file.ts';
import { ownServerOf } from './doctor.ts';

export interface ReachabilityNeeds {
  readonly dataDir: string;
  readonly overrides: NonNullable<LoadOptions['overrides']>;
  readonly clock: Clock;
  readonly random: Random;
  readonly jobs: Pick<Jobs, 'start'>;
  readonly announcer: Pick<Announcer, 'moved'>;
  readonly findHomeserver: () => Homeserver | undefined;
  readonly network: NonNullable<ComposeNeeds['network']> | undefined;
  /** From where the server is reached, or is to be once it is set up. */
  readonly draft: () => SetupDraft;
  /** The doctor's view of the world; this machine's own unless told. */
  readonly world?: Partial<World> | undefined;
}

export function reachability(needs: ReachabilityNeeds): { readonly calls: ControlCall[]; readonly doctor: Doctor } {
  const { dataDir, overrides, clock, random, jobs, announcer, findHomeserver, network } = needs;
  const load = (): Config => {
    try {
      return loadConfig({ dataDir, overrides }).config;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      throw new MatrixError('M_UNKNOWN', `The settings cannot be used: ${error.message}`, {
        status: 409,
      });
    }
  };
  let proxies: ProxyChoice | undefined;
  const world = createWorld({
    clock,
    proxies: () => proxies,
    ...(network?.dns === undefined ? {} : { dns: dnsOf(network.dns) }),
    ...(network?.dial === undefined ? {} : { dial: network.dial }),
    ...needs.world,
  });
  const doctor = new Doctor({
    world,
    jobs,
    announcer,
    reports: new ReportFile(join(dataDir, 'reachability.json')),
    own: () => {
      const config = load();
      const running = findHomeserver();
      // As they stand when a look begins.
      proxies = new ProxyChoice(config.outbound);
      return ownServerOf(
        config,
        loadSigningKeys(config.signing, random),
        running === undefined ? undefined : { addresses: running.addresses, echo: running.ports.echo },
      );
    },
  });
  const calls = [
    ...doctorCalls({ doctor, ownName: () => load().serverName }),
    ...delegationCalls({ facts: () => factsOf(load(), needs.draft(), world.localAddresses()) }),
    ...callsCalls({
      clock,
      random,
      world,
      jobs,
      announcer,
      reports: new ReportFile(join(dataDir, 'calls.json')),
      options: {
        read: () => load(),
        write: (changes) => {
          configFile(dataDir, overrides).edit(changes);
          return { needsRestart: findHomeserver() !== undefined };
        },
      },
    }),
  ];
  return { calls, doctor };
}

function factsOf(config: Config, draft: SetupDraft, addresses: readonly string[]): DelegationFacts {
  const given = config.publicBaseUrlGiven ? config.publicBaseUrl : undefined;
  const serverName = draft.serverName === '' ? config.serverName : draft.serverName;
  return {
    serverName,
    reach: draft.reach,
    // What is configured is what counts, once it is about the same name.
    publicUrl: serverName === config.serverName ? (given ?? draft.publicUrl) : draft.publicUrl,
    listeners: config.listeners.flatMap(({ port, bindAddresses, tls, resources, trustForwarded }) =>
      port === undefined
        ? []
        : [
            {
              port,
              bindAddresses,
              tls,
              forClients: resources.includes('client'),
              forServers: resources.includes('federation'),
              trustsForwarded: trustForwarded,
            },
          ],
    ),
    extraClientContent: extraContent(config),
    maxUploadBytes: config.media.maxUploadBytes,
    publicAddresses: addresses.filter((address) => scopeOf(address) === 'public'),
    homeAddress: listOwnAddresses().find((address) => scopeOf(address) === 'home' && !address.includes(':')),
  };
}

/** What Hearth's own file for clients says besides the address. */
function extraContent({ registration, rtcTransports, extraWellKnownClientContent }: Config): JsonObject {
  return {
    ...(registration.defaultIdentityServer === undefined
      ? {}
      : { 'm.identity_server': { base_url: registration.defaultIdentityServer } }),
    ...(rtcTransports.length === 0 ? {} : { 'org.matrix.msc4143.rtc_foci': rtcTransports }),
    ...extraWellKnownClientContent,
  };
}
