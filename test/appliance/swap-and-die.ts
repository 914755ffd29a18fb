/** Puts a staged restoration in its place and kills itself at the n-th change of the file system: `DIR STAGED N`. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const [dataDir = '', staged = '', at = '0'] = process.argv.slice(2);
let left = Number(at);

for (const name of [
  'renameSync',
  'linkSync',
  'rmSync',
  'rmdirSync',
  'mkdirSync',
  'writeFileSync',
  'fsyncSync',
] as const) {
  const original: (...args: never[]) => unknown = fs[name];
  const dying = (...args: never[]): unknown => {
    left -= 1;
    if (left <= 0) process.kill(process.pid, 'SIGKILL');
    return Reflect.apply(original, fs, args);
  };
  Object.assign(fs, { [name]: dying });
}
syncBuiltinESMExports();

const { swapIn } = await import('../../server/appliance/backups/swap.ts');
swapIn(dataDir, { staged, serverName: 'home.test' });
process.stdout.write('done\n');
