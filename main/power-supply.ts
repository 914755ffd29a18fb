import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Whether this machine lives on its battery, as Linux's kernel says it (`/sys/class/power_supply`); Electron does not know
 * it there, and says no. False where there is nothing to read.
 */
export function isLinuxOnBattery(directory = '/sys/class/power_supply'): boolean {
  const supplies = listOf(directory).map((name) => {
    const read = (property: string): string => textOf(join(directory, name, property));
    return { type: read('type'), online: read('online'), status: read('status'), scope: read('scope') };
  });
  // A phone or a monitor that feeds a machine over its USB port is a supply as well.
  if (supplies.some(({ type, online }) => type !== 'Battery' && online === '1')) return false;
  // Mice and headphones have batteries of their own.
  return supplies.some(
    ({ type, status, scope }) => type === 'Battery' && scope !== 'Device' && status === 'Discharging',
  );
}

function listOf(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    // A machine without any such thing, or a sandbox that does not show it.
    return [];
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    // Not every kind of supply has every property.
    return '';
  }
}
