/**
 * Packages the desktop program for this system into `out/dist`, as electron-builder.yml says.
 *
 * Usage: node build/dist.ts [--dir]
 *
 * `--dir` stops at the unpacked program. HEARTH_UPDATE_URL is where new versions will be found, and HEARTH_UPDATE_KEY a file
 * with the Ed25519 key (PEM) that signs them; without both, the program that is made cannot renew itself. Where Electron's
 * runtime is not there, a folder stands in for it: the packages show what they hold, and cannot be run.
 */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { Arch, build, type Configuration, Platform } from 'electron-builder';
import { parse } from 'yaml';
import { bundle } from './bundle.ts';

const root = join(import.meta.dirname, '..');
const electron = join(root, 'node_modules', 'electron');

export interface DistOptions {
  /** The unpacked program alone. */
  readonly dirOnly?: boolean;
  readonly output?: string;
  readonly feed?: string | undefined;
  /** PEM. */
  readonly signKey?: string | undefined;
}

export interface Made {
  readonly output: string;
  /** Whether Electron's own runtime is inside. */
  readonly hasRuntime: boolean;
  /** What was left out, and why. */
  readonly leftOut: readonly string[];
}

/** The configuration as it stands in electron-builder.yml. */
export function readConfiguration(): Configuration {
  return parse(readFileSync(join(root, 'electron-builder.yml'), 'utf8'));
}

/** Bundles, packages and signs the description of the release. */
export async function dist({
  dirOnly = false,
  output = join(root, 'out', 'dist'),
  feed,
  signKey,
}: DistOptions): Promise<Made> {
  // Not where the program is started from while it is worked on.
  const app = join(root, 'out', 'package');
  await bundle(app);
  const hasRuntime = existsSync(join(electron, 'dist', 'version'));
  const leftOut: string[] = [];
  const configuration = readConfiguration();
  const { version } = JSON.parse(await readFile(join(electron, 'package.json'), 'utf8')) as { version: string };
  await rm(output, { recursive: true, force: true });
  const config: Configuration = {
    ...configuration,
    electronVersion: version,
    electronDist: hasRuntime ? join(electron, 'dist') : await makeStandIn(version),
    directories: { ...configuration.directories, app, output },
    publish: feed === undefined ? null : { provider: 'generic', url: feed },
  };
  if (signKey !== undefined) {
    const keyFile = join(root, 'out', 'update-key.pem');
    await writeFile(keyFile, createPublicKey(createPrivateKey(signKey)).export({ type: 'spki', format: 'pem' }));
    config.extraResources = [...toList(config.extraResources), { from: keyFile, to: 'update-key.pem' }];
  }
  await build({ targets: targetsOf(dirOnly, hasRuntime, leftOut), config, projectDir: root, publish: 'never' });
  if (signKey !== undefined) await signDescriptions(output, signKey);
  return { output, hasRuntime, leftOut };
}

/** What can be made on this system with what it has. */
function targetsOf(dirOnly: boolean, hasRuntime: boolean, leftOut: string[]): Map<Platform, Map<Arch, string[]>> {
  const arch = process.arch === 'arm64' ? Arch.arm64 : Arch.x64;
  const here = Platform.current();
  if (dirOnly) return here.createTarget('dir', arch);
  // The system's own tools of the packages would be downloaded; with the runtime, that was possible as well.
  if (hasRuntime) return here.createTarget(null, arch);
  if (here !== Platform.LINUX) {
    leftOut.push(`the packages for ${here.name}: Electron's runtime is not installed`);
    return here.createTarget('dir', arch);
  }
  leftOut.push("the .deb: it is made by a tool that is downloaded, as Electron's runtime is");
  const tools = makeAppImageTools(arch);
  if (tools === undefined) {
    leftOut.push(
      'the AppImage: mksquashfs and desktop-file-validate are not installed (squashfs-tools, desktop-file-utils)',
    );
    return here.createTarget('dir', arch);
  }
  process.env['APPIMAGE_TOOLS_PATH'] = tools;
  return here.createTarget(['dir', 'AppImage'], arch);
}

const STAND_IN = join(root, 'out', 'stand-in-runtime');

/** The marks in Electron's program where its fuses are: a version, how many, and each of them. */
const FUSE_WIRE = Buffer.from('dL7pKGdnNz796PbbjQWNKmHXBZaB9tsX\u0001\u0009000000000', 'latin1');

/** A folder that looks like Electron's, with a program in it that does nothing. */
async function makeStandIn(version: string): Promise<string> {
  await rm(STAND_IN, { recursive: true, force: true });
  await mkdir(join(STAND_IN, 'resources'), { recursive: true });
  await mkdir(join(STAND_IN, 'locales'));
  await writeFile(join(STAND_IN, 'locales', 'en-US.pak'), '');
  const program = join(STAND_IN, 'electron');
  await writeFile(program, Buffer.concat([await readFile('/bin/true'), FUSE_WIRE]));
  await chmod(program, 0o755);
  await writeFile(join(STAND_IN, 'version'), version);
  await writeFile(join(STAND_IN, 'LICENSE'), 'A folder that stands in for Electron holds nothing of it.\n');
  await writeFile(join(STAND_IN, 'LICENSES.chromium.html'), '<!doctype html><title>Licences</title>\n');
  return STAND_IN;
}

/** The AppImage's tools, as electron-builder looks for them, of what the system has installed. */
function makeAppImageTools(arch: Arch): string | undefined {
  const squash = findProgram('mksquashfs');
  const validate = findProgram('desktop-file-validate');
  if (squash === undefined || validate === undefined) return undefined;
  const folder = join(root, 'out', 'appimage-tools');
  const name = arch === Arch.arm64 ? 'arm64' : 'x64';
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, `linux-${name}`), { recursive: true });
  // Its libraries are for desktops of another time; none is needed to look inside.
  mkdirSync(join(folder, 'lib', 'x64'), { recursive: true });
  symlinkSync(squash, join(folder, `linux-${name}`, 'mksquashfs'));
  symlinkSync(validate, join(folder, `linux-${name}`, 'desktop-file-validate'));
  // Stands in for the part that mounts the rest.
  copyFileSync('/bin/true', join(folder, `runtime-${name}`));
  return folder;
}

function findProgram(name: string): string | undefined {
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((directory) => join(directory, name))
    .find((path) => existsSync(path));
}

/** Signs what a running program reads first of a release (`latest*.yml`), beside it. */
async function signDescriptions(output: string, signKey: string): Promise<void> {
  for (const name of await readdir(output)) {
    if (!/^latest.*\.yml$/.test(name)) continue;
    const signature = sign(null, await readFile(join(output, name)), createPrivateKey(signKey));
    await writeFile(join(output, `${name}.sig`), `${signature.toString('base64')}\n`);
  }
}

function toList<T>(value: T | T[] | null | undefined): T[] {
  if (value === null || value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

if (import.meta.main) {
  const keyFile = process.env['HEARTH_UPDATE_KEY'];
  const { output, hasRuntime, leftOut } = await dist({
    dirOnly: process.argv.includes('--dir'),
    feed: process.env['HEARTH_UPDATE_URL'],
    signKey: keyFile === undefined ? undefined : await readFile(keyFile, 'utf8'),
  });
  console.log(`The packages are in ${output}`);
  if (!hasRuntime)
    console.log("They hold a stand-in for Electron's runtime, which is not installed: they cannot be run.");
  for (const each of leftOut) console.log(`Left out: ${each}`);
}
