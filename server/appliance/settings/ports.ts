import { MatrixError } from '../../matrix/errors.ts';
import type { SettingValue } from '../contract.ts';
import { type CatalogueEntry, GENERAL } from './catalogue.ts';
import type { ConfigReading } from './port.ts';

interface Door {
  readonly path: string;
  readonly port: number;
  readonly isTls: boolean;
  readonly names: readonly string[];
}

/** The ports this server listens on, as settings: another program may have one of them. */
export function portEntries(reading: Pick<ConfigReading, 'written'>): CatalogueEntry[] {
  const doors = doorsOf(reading);
  return doors.map(({ path, isTls, names }) => {
    const isForApps = names.includes('client');
    const isForServers = names.includes('federation');
    const whom = isForApps && isForServers ? 'apps and other servers' : isForApps ? 'apps' : 'other servers';
    return {
      path,
      group: GENERAL,
      kind: 'number',
      isRequired: true,
      title: `Port for ${whom}${isTls ? ', encrypted' : ''}`,
      help: 'From 1 to 65535. If another program has this one, choose another. Router, reverse proxy and apps that use the old one have to be changed too.',
    };
  });
}

/** Throws M_INVALID_PARAM for a port that this server has for something else already. */
export function checkPort(reading: Pick<ConfigReading, 'written'>, path: string, value: SettingValue): void {
  const doors = doorsOf(reading);
  if (!doors.some((door) => door.path === path)) return;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > 65_535) {
    throw new MatrixError('M_INVALID_PARAM', 'A port is a whole number from 1 to 65535', { fields: { field: path } });
  }
  if (doors.some((door) => door.path !== path && door.port === value)) {
    throw new MatrixError('M_INVALID_PARAM', 'This server has that port already', { fields: { field: path } });
  }
}

function doorsOf(reading: Pick<ConfigReading, 'written'>): Door[] {
  const listeners = reading.written('listeners');
  if (!Array.isArray(listeners)) return [];
  return listeners.flatMap((listener: unknown, index) => {
    const port = fieldOf(listener, 'port');
    if (typeof port !== 'number' || (fieldOf(listener, 'type') ?? 'http') !== 'http') return [];
    const resources = fieldOf(listener, 'resources');
    const names = (Array.isArray(resources) ? resources : []).flatMap((each: unknown) => fieldOf(each, 'names') ?? []);
    return [
      { path: `listeners.${index}.port`, port, isTls: fieldOf(listener, 'tls') === true, names: names.map(String) },
    ];
  });
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
