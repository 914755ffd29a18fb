/**
 * Puts the desktop program together in `out/app`, as it is packaged: the shell, the server and the interface in a few files
 * each, laid out as their source is, and beside them what cannot be bundled. Usage: node build/bundle.ts
 */
import { spawnSync } from 'node:child_process';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { basename, dirname, extname, join, posix, relative, sep } from 'node:path';
import { type Plugin, rolldown } from 'rolldown';
import { ICONS, makeIcons } from './icons.ts';

const root = join(import.meta.dirname, '..');
export const APP = join(root, 'out', 'app');

/** Native code, and what reads files that lie beside it. */
const EXTERNAL = ['better-sqlite3', 'sharp', '@node-rs/argon2', '@node-rs/bcrypt', 'minijinja-js'];

/** What runs by itself: as a command, as the shell's server, and as a helper of the server. */
const SERVER_ENTRIES = [
  'server/cli.ts',
  'server/cli/start-for-shell.ts',
  'server/modules/content-repository/thumbnailer/worker.ts',
  'server/appliance-ports/copy-worker.ts',
];

export interface Target {
  readonly platform: string;
  readonly arch: string;
}

/** Bundles everything into `app` for `target`, whose packages must be installed. */
export async function bundle(
  app: string = APP,
  target: Target = { platform: process.platform, arch: process.arch },
): Promise<void> {
  await rm(app, { recursive: true, force: true });
  await mkdir(app, { recursive: true });
  await Promise.all([bundleMain(app), makeIcons(), buildPages()]);
  await bundleHeadless(app);
  await cp(ICONS, join(app, 'build', 'icons'), {
    recursive: true,
    filter: (path) => path === ICONS || /(?:tray-[\w@-]+\.(?:png|ico)|hearth-256\.png)$/.test(path),
  });
  await cp(join(root, 'LICENSE'), join(app, 'LICENSE'));
  await copyPackages(app, target);
  await writeFile(join(app, 'package.json'), `${JSON.stringify(await packageJson(), undefined, 2)}\n`);
}

/**
 * Bundles the server into `app` with the interface, which has to be built, and its templates. What cannot be bundled is
 * looked for in the `node_modules` above it.
 */
export async function bundleHeadless(app: string): Promise<void> {
  await bundleServer(app);
  await cp(join(root, 'build', 'renderer'), join(app, 'build', 'renderer'), {
    recursive: true,
    filter: (path) => !basename(path).startsWith('.'),
  });
  await cp(join(root, 'assets', 'templates'), join(app, 'assets', 'templates'), { recursive: true });
}

/** The preload script, which a sandbox wants to be one CommonJS file. */
export async function bundlePreload(): Promise<string> {
  const build = await rolldown({ input: join(root, 'main', 'preload.ts'), external: ['electron'], platform: 'node' });
  const { output } = await build.generate({ format: 'cjs' });
  await build.close();
  const [chunk] = output;
  return chunk.code;
}

async function bundleServer(app: string): Promise<void> {
  const input = Object.fromEntries(
    SERVER_ENTRIES.map((entry) => [entry.slice(0, -extname(entry).length), join(root, entry)]),
  );
  await write(app, input, 'server/chunks', EXTERNAL);
}

async function bundleMain(app: string): Promise<void> {
  await write(app, { 'main/main': join(root, 'main', 'main.ts') }, 'main/chunks', ['electron']);
  await writeFile(join(app, 'main', 'preload.cjs'), await bundlePreload());
}

async function write(
  app: string,
  input: Record<string, string>,
  chunks: string,
  external: readonly string[],
): Promise<void> {
  const build = await rolldown({
    input,
    cwd: root,
    platform: 'node',
    external: external.map((name) => new RegExp(`^${name}(/|$)`)),
    plugins: [keepWhereabouts()],
    logLevel: 'silent',
  });
  await build.write({
    dir: app,
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: `${chunks}/[name]-[hash].js`,
  });
  await build.close();
}

const PROPERTIES = /\bimport\.meta\.(dirname|filename|url)\b/g;
const MARK = /__HEARTH_AT__\("([^"]+)", "(dirname|filename|url)"\)/g;

/** In whatever file a module ends up, it finds what lies beside its source where that would be. */
function keepWhereabouts(): Plugin {
  return {
    name: 'keep-whereabouts',
    transform: (code, id) => {
      const file = relative(root, id).split(sep).join('/');
      if (!/^(?:server|main)\//.test(file) || !code.includes('import.meta.')) return null;
      const here = file.replace(/\.ts$/, '.js');
      return code.replace(PROPERTIES, (_all, property: string) => `__HEARTH_AT__("${here}", "${property}")`);
    },
    renderChunk: (code, chunk) =>
      code.includes('__HEARTH_AT__')
        ? code.replace(MARK, (_all, here: string, property: string) => {
            const url = `new URL(${JSON.stringify(posix.relative(posix.dirname(chunk.fileName), here))}, import.meta.url)`;
            const path = `process.getBuiltinModule("node:url").fileURLToPath(${url})`;
            if (property === 'url') return `${url}.href`;
            return property === 'filename' ? path : `process.getBuiltinModule("node:path").dirname(${path})`;
          })
        : null,
  };
}

/** The interface is built by its own script. */
async function buildPages(): Promise<void> {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'build', 'renderer.ts'), '--if-stale'], {
    cwd: root,
  });
  if (status !== 0) throw new Error(`the interface could not be built: ${stderr.toString()}`);
}

interface PackageJson {
  readonly name: string;
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly [key: string]: unknown;
}

async function packageJson(): Promise<object> {
  const { name, version, description, license, dependencies = {} } = await readPackage(root);
  return {
    name,
    productName: 'Hearth',
    version,
    description,
    license,
    author: 'The Hearth developers <hearth@hearth.invalid>',
    homepage: 'https://hearth.invalid/',
    type: 'module',
    main: 'main/main.js',
    // Which entry of the desktop's menu its windows belong to.
    desktopName: 'hearth.desktop',
    dependencies: Object.fromEntries(EXTERNAL.map((each) => [each, dependencies[each]])),
  };
}

/** Copies the packages that stay outside of the bundles, and theirs: what runs, for the target alone. */
async function copyPackages(app: string, target: Target): Promise<void> {
  const seen = new Set<string>();
  const copy = async (name: string, from: string, isOptional: boolean): Promise<void> => {
    const directory = findPackage(name, from);
    if (directory === undefined) {
      // The variants of a native package for other systems are not installed.
      if (isOptional) return;
      throw new Error(`${name}, which ${from} needs, is not installed`);
    }
    if (seen.has(directory)) return;
    seen.add(directory);
    const { dependencies = {}, optionalDependencies = {}, os, cpu } = await readPackage(directory);
    if (!suits(os, target.platform) || !suits(cpu, target.arch)) return;
    await cp(directory, join(app, relative(root, directory)), {
      recursive: true,
      filter: (path) => isNeeded(name, relative(directory, path).split(sep).join('/'), target),
    });
    const needed = Object.entries(dependencies).filter(([each]) => !BUILD_ONLY.has(each));
    if (needed.length < Object.keys(dependencies).length) {
      // The packager would miss what is left out.
      const content = { ...(await readPackage(directory)), dependencies: Object.fromEntries(needed) };
      await writeFile(join(app, relative(root, directory), 'package.json'), JSON.stringify(content, undefined, 2));
    }
    for (const [each] of needed) await copy(each, directory, each in optionalDependencies);
    for (const each of Object.keys(optionalDependencies)) await copy(each, directory, true);
  };
  for (const name of EXTERNAL) await copy(name, root, false);
}

/** What a package names as its dependency only to be compiled. */
const BUILD_ONLY = new Set(['node-addon-api']);

function suits(allowed: unknown, wanted: string): boolean {
  return !Array.isArray(allowed) || allowed.includes(wanted);
}

function isNeeded(name: string, path: string, { platform, arch }: Target): boolean {
  if (path === '') return true;
  if (/(?:^|\/)(?:node_modules|README\.md|CHANGELOG\.md|\.github)(?:\/|$)|\.d\.[cm]?ts$|\.map$/i.test(path))
    return false;
  switch (name) {
    case 'better-sqlite3':
      return (
        /^(?:package\.json|LICENSE|lib(?:\/.*)?|prebuilds)$/.test(path) || path === `prebuilds/${platform}-${arch}.node`
      );
    case 'sharp':
      return !/^(?:src|install)(?:\/|$)/.test(path);
    case 'minijinja-js':
      return !/^dist\/(?:bundler|web)(?:\/|$)/.test(path);
    default:
      return true;
  }
}

function findPackage(name: string, from: string): string | undefined {
  for (let directory = from; directory.startsWith(root); directory = dirname(directory)) {
    const found = join(directory, 'node_modules', name);
    if (existsSync(found)) return found;
  }
  return undefined;
}

async function readPackage(directory: string): Promise<PackageJson> {
  return JSON.parse(await readFile(join(directory, 'package.json'), 'utf8'));
}

if (import.meta.main) await bundle();
