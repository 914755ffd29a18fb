import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type * as MiniJinja from 'minijinja-js';
import type { Logger } from '../util/log.ts';
import { formatPercent, formatTs, localpartFromEmail, mxcToHttp } from './filters.ts';
import { SafeHtml, TemplateError, type Templates, type TemplateVars } from './index.ts';

/** Where this server's own texts are. */
export const OWN_TEMPLATES = fileURLToPath(new URL('../../assets/templates/', import.meta.url));

/** What may be a template, or a part of one. */
const TEMPLATE_FILE = /\.(?:html|txt|css|js|svg)$/;
const LARGEST_BYTES = 1_048_576;

export interface TemplatesNeeds {
  readonly log: Logger;
  readonly serverName: string;
  /** For addresses of pictures. */
  readonly publicBaseUrl: string;
  /** Directories with templates; a file in an earlier one goes before one of the same name in a later one. */
  readonly directories: readonly string[];
}

const require = createRequire(import.meta.url);

/**
 * Reads the templates (Jinja) of all directories. A file that cannot be read as a template is logged and passed over:
 * the one of the next directory serves in its place.
 */
export function createTemplates(needs: TemplatesNeeds): Templates {
  // Only once one is asked for: few servers ever do, and the engine is a program of its own. What somebody wrote is read
  // at once, so that they hear of their mistakes.
  let loaded: Templates | undefined;
  const load = (): Templates => (loaded ??= loadTemplates(needs));
  if (needs.directories.some((directory) => directory !== OWN_TEMPLATES)) load();
  return { has: (name) => load().has(name), render: (name, vars) => load().render(name, vars) };
}

function loadTemplates({ log, serverName, publicBaseUrl, directories }: TemplatesNeeds): Templates {
  const { Environment } = require('minijinja-js') as typeof MiniJinja;
  const environment = new Environment();
  environment.enablePyCompat();
  environment.undefinedBehavior = 'chainable';
  environment.addGlobal('server_name', serverName);
  environment.addFilter('format_ts', formatTs);
  environment.addFilter('mxc_to_http', mxcToHttp(publicBaseUrl));
  environment.addFilter('localpart_from_email', localpartFromEmail);
  environment.addFilter('format', formatPercent);
  environment.addFilter('urlencode', (value: unknown) => encodeURIComponent(String(value)).replaceAll('%2F', '/'));

  const names = new Set<string>();
  for (const directory of directories) {
    for (const name of listTemplates(directory, log)) {
      if (names.has(name)) continue;
      try {
        environment.addTemplate(name, adapt(readFileSync(join(directory, name), 'utf8')));
        names.add(name);
      } catch (error) {
        log.error({ template: join(directory, name), err: error }, 'a template cannot be used');
      }
    }
  }

  return {
    has: (name) => names.has(name),
    render: (name, vars) => {
      if (!names.has(name)) throw new TemplateError(`there is no template ${name}`);
      const { plain, restore } = setAside(vars);
      try {
        return restore(environment.renderTemplate(name, plain));
      } catch (error) {
        throw new TemplateError(`the template ${name} fails: ${describe(error)}`, { cause: error });
      }
    },
  };
}

function listTemplates(directory: string, log: Logger): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => TEMPLATE_FILE.test(name))
      .filter((name) => {
        const stat = statSync(join(directory, name));
        return stat.isFile() && stat.size <= LARGEST_BYTES;
      });
  } catch (error) {
    log.error({ directory, err: error }, 'a directory of templates cannot be read');
    return [];
  }
}

const TAG = /\{[%{][\s\S]*?[%}]\}/g;
const FORMATTED = /("[^"\n]*"|'[^'\n]*')\s*%\s*(\([^()]*\)|[A-Za-z_][\w.]*)/g;

/** Text takes the operator % in Python's Jinja, but not in this one: `"a %s" % b` becomes `("a %s"|format(b))`. */
function adapt(source: string): string {
  return source.replace(TAG, (tag) =>
    tag.replace(FORMATTED, (_whole, format: string, values: string) => {
      const inner = values.startsWith('(') ? values.slice(1, -1) : values;
      return `(${format}|format(${inner}))`;
    }),
  );
}

/**
 * The engine escapes all that comes from outside. What is safe goes through it as a word that nobody can guess, and
 * comes back in afterwards.
 */
function setAside(vars: TemplateVars): { plain: unknown; restore: (text: string) => string } {
  const kept: string[] = [];
  const nonce = randomBytes(12).toString('hex');
  const walk = (value: unknown): unknown => {
    if (value instanceof SafeHtml) {
      kept.push(value.html);
      return `html${nonce}n${kept.length - 1}n`;
    }
    if (Array.isArray(value)) return value.map(walk);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, walk(inner)]));
  };
  const plain = walk(vars);
  const word = new RegExp(`html${nonce}n(\\d+)n`, 'g');
  return { plain, restore: (text) => text.replace(word, (_whole, index: string) => kept[Number(index)] ?? '') };
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
