/** Reads the imports of the source tree and says which of them the layout of the house forbids. */
import { readFileSync } from 'node:fs';
import { join, posix, relative, sep } from 'node:path';

export interface Import {
  /** The importing file, relative to the project, with forward slashes. */
  readonly from: string;
  /** What it names: a path relative to the project for our own files, a package or `node:` module otherwise. */
  readonly to: string;
}

// import … from 'x', export … from 'x', import 'x', import('x'), require('x'); type imports are imports too.
const SPECIFIER = /(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)(['"])([^'"\n]+)\1/g;

/** Every import in `source`, the text of the file `from` (a path relative to the project). */
export function readImports(from: string, source: string): Import[] {
  const withoutComments = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`\\])\/\/[^\n]*/g, '$1');
  return [...withoutComments.matchAll(SPECIFIER)].map((match) => {
    const specifier = match[2] ?? '';
    const to = specifier.startsWith('.') ? posix.join(posix.dirname(from), specifier) : specifier;
    return { from, to };
  });
}

/** Reads the imports of a file of the project. */
export function readImportsOf(root: string, file: string): Import[] {
  const from = relative(root, file).split(sep).join('/');
  return readImports(from, readFileSync(join(root, from), 'utf8'));
}

interface Rule {
  readonly folder: RegExp;
  /** Our own files it may import, besides those of its own folder. */
  readonly own: readonly RegExp[];
}

const UTIL = /^server\/util\//;
const MATRIX = /^server\/matrix\//;
const STORAGE = /^server\/storage\//;
const HTTP = /^server\/http\//;
const FEDERATION = /^server\/federation\//;
const ROOMS = /^server\/rooms\//;
const SYNC = /^server\/sync\//;
const MAIL = /^server\/mail\//;
const KERNEL = [UTIL, MATRIX, STORAGE, HTTP, FEDERATION, ROOMS, SYNC, MAIL];
const MODULE_INTERFACE = /^server\/module\.ts$/;

/** Who may import whom; the first rule whose folder matches counts. */
const RULES: readonly Rule[] = [
  { folder: UTIL, own: [] },
  { folder: MATRIX, own: [UTIL] },
  { folder: STORAGE, own: [UTIL] },
  { folder: HTTP, own: [UTIL, MATRIX, STORAGE] },
  { folder: MAIL, own: [UTIL, STORAGE] },
  { folder: FEDERATION, own: [UTIL, MATRIX, STORAGE, HTTP] },
  { folder: ROOMS, own: [UTIL, MATRIX, STORAGE, FEDERATION] },
  { folder: SYNC, own: [UTIL, MATRIX, STORAGE, HTTP, ROOMS] },
  { folder: /^server\/modules\//, own: [...KERNEL, MODULE_INTERFACE] },
  { folder: /^server\/appliance\//, own: [...KERNEL, MODULE_INTERFACE] },
  { folder: MODULE_INTERFACE, own: KERNEL },
  { folder: /^server\/config\//, own: [UTIL, MATRIX] },
  {
    folder: /^server\/(compose|compose-services|compose-people|compose-push|schema)\.ts$/,
    own: [
      ...KERNEL,
      MODULE_INTERFACE,
      /^server\/config\//,
      /^server\/(compose|compose-services|compose-people|compose-push|settings|schema|unstable-features)\.ts$/,
      /^server\/appliance\//,
      /^server\/modules\/[^/]+\/index\.ts$/,
    ],
  },
  { folder: /^server\//, own: [/^server\//] },
  { folder: /^main\//, own: [/^main\//, /^server\/appliance\/contract\.ts$/] },
  { folder: /^renderer\//, own: [/^renderer\//, /^main\/contract\.ts$/, /^server\/appliance\/contract\.ts$/] },
  { folder: /^(test|bench)\//, own: [/./] },
];

/** Packages that belong to one folder alone. */
const CONFINED: readonly { readonly name: RegExp; readonly folder: RegExp }[] = [
  { name: /^better-sqlite3$/, folder: STORAGE },
  { name: /^koa(-[a-z]+)?$/, folder: HTTP },
  { name: /^electron$/, folder: /^main\// },
  // A second SQLite in one process does not see the first one's locks and damages the file.
  { name: /^node:sqlite$/, folder: /^$/ },
];

/** What of Node the protocol may use: arithmetic on bytes, no I/O. */
const PURE_NODE = new Set(['node:crypto', 'node:buffer']);

function ownFolder(file: string): string {
  const parts = file.split('/');
  return parts.slice(0, parts[1] === 'modules' ? 3 : 2).join('/');
}

/** Why `use` is forbidden, or undefined. */
export function checkImport(use: Import): string | undefined {
  if (/^(test|bench)\//.test(use.from)) return undefined;
  for (const { name, folder } of CONFINED) {
    if (name.test(use.to) && !folder.test(use.from)) return `${use.from}: ${use.to} does not belong here`;
  }
  const isOurs = /^(server|main|renderer|test|bench|build)\//.test(use.to);
  if (!isOurs) {
    if (use.to.startsWith('.')) return `${use.from}: ${use.to} leads out of the project`;
    if (use.from.startsWith('renderer/') && use.to.startsWith('node:')) return `${use.from}: Node is not in the page`;
    if (MATRIX.test(use.from) && use.to.startsWith('node:') && !PURE_NODE.has(use.to)) {
      return `${use.from}: the protocol does no I/O (${use.to})`;
    }
    return undefined;
  }
  if (/^(test|bench)\//.test(use.to)) return `${use.from}: nothing imports tests (${use.to})`;
  const folder = ownFolder(use.from);
  if (use.to.startsWith(`${folder}/`) && folder !== 'server') return undefined;
  const rule = RULES.find((candidate) => candidate.folder.test(use.from));
  if (rule === undefined) return `${use.from}: no rule covers this folder`;
  return rule.own.some((allowed) => allowed.test(use.to)) ? undefined : `${use.from}: may not import ${use.to}`;
}
