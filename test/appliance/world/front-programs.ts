/** The programs that people put in front of a homeserver, started with the text that the guidance gives for them. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { planWay, type DelegationFacts } from '../../../server/appliance/delegation/facts.ts';
import { type Site, writeSnippets } from '../../../server/appliance/delegation/snippets.ts';
import type { TestAuthority } from '../../kit/certificates.ts';
import { eventually } from '../../kit/test-network.ts';
import { canConnect, freePort, isInstalled } from './turn-servers.ts';

const NGINX = 'nginx';
const APACHE_MODULES = '/usr/lib/apache2/modules';

interface Program {
  readonly id: string;
  readonly title: string;
  readonly isHere: boolean;
  /** Writes what the program needs around the snippet; gives how it checks its configuration, and how it is run. */
  prepare(parts: { dir: string; text: string; port: number; site: Site }): { check: string[]; run: string[] };
  /** The authority of its certificates, where it makes them itself. */
  authority?(dir: string): string;
}

export const programs: readonly Program[] = [
  {
    id: 'nginx',
    title: 'nginx',
    isHere: isInstalled('nginx'),
    prepare: ({ dir, text }) => {
      const conf = join(dir, 'nginx.conf');
      const temps = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
        (name) => `${name}_temp_path ${join(dir, name)};`,
      );
      writeFileSync(
        conf,
        `${process.getuid?.() === 0 ? 'user root;\n' : ''}daemon off;\npid ${join(dir, 'pid')};\nerror_log ${join(dir, 'error.log')};
events {}
http {
access_log off;
${temps.join('\n')}
${text}
}
`,
      );
      const common = ['nginx', '-p', dir, '-e', join(dir, 'error.log'), '-c', conf];
      return { check: [...common, '-t'], run: common };
    },
  },
  {
    id: 'haproxy',
    title: 'HAProxy',
    isHere: isInstalled('haproxy'),
    prepare: ({ dir, text }) => {
      const conf = join(dir, 'haproxy.cfg');
      writeFileSync(conf, `global\n    maxconn 100\n\n${text}`);
      return { check: ['haproxy', '-c', '-f', conf], run: ['haproxy', '-db', '-f', conf] };
    },
  },
  {
    id: 'caddy',
    title: 'Caddy',
    isHere: isInstalled('caddy'),
    prepare: ({ dir, text, port }) => {
      const conf = join(dir, 'Caddyfile');
      // It would ask a public authority for certificates otherwise, and want the usual ports.
      writeFileSync(
        conf,
        `{\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n\tauto_https disable_redirects\n\thttps_port ${port}\n}\n\n${text}`,
      );
      const common = ['--config', conf, '--adapter', 'caddyfile'];
      return { check: ['caddy', 'validate', ...common], run: ['caddy', 'run', ...common] };
    },
    authority: (dir) => join(dir, 'caddy', 'pki', 'authorities', 'local', 'root.crt'),
  },
  {
    id: 'apache',
    title: 'Apache',
    isHere: isInstalled('apache2') && existsSync(APACHE_MODULES),
    prepare: ({ dir, text, port, site }) => {
      const conf = join(dir, 'apache.conf');
      const modules = [
        'mpm_event',
        'authz_core',
        'alias',
        'mime',
        'ssl',
        'socache_shmcb',
        'proxy',
        'proxy_http',
        'headers',
      ];
      writeFileSync(
        conf,
        `ServerRoot ${dir}
PidFile ${join(dir, 'pid')}
ErrorLog ${join(dir, 'error.log')}
${process.getuid?.() === 0 ? 'User www-data\nGroup www-data\n' : ''}Listen 127.0.0.1:${port}
ServerName localhost
TypesConfig /dev/null
${modules.map((name) => `LoadModule ${name}_module ${APACHE_MODULES}/mod_${name}.so`).join('\n')}
${text}
`,
      );
      mkdirSync(site.filesDirectory, { recursive: true });
      // What stands in comments at the end of the text is what the two files hold.
      for (const [, path = '', content = ''] of text.matchAll(/^# (\/\S+):\n# {3}(.*)$/gm))
        writeFileSync(path, content);
      return { check: ['apache2', '-f', conf, '-t'], run: ['apache2', '-f', conf, '-DFOREGROUND'] };
    },
  },
];

/** nginx for one name, with what is given inside its `server`; gives how to end it. */
export async function startNginx(
  name: string,
  inside: string,
  authority: TestAuthority,
): Promise<AsyncDisposable & { readonly port: number }> {
  const dir = mkdtempSync(join(tmpdir(), 'hearth-nginx-'));
  chmodSync(dir, 0o755);
  const port = await freePort();
  const { cert, key } = await authority.issue({ dnsNames: [name] });
  writeFileSync(join(dir, 'tls.crt'), cert);
  writeFileSync(join(dir, 'tls.key'), key);
  const temps = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((each) => `${each}_temp_path ${dir}/${each};`);
  writeFileSync(
    join(dir, 'nginx.conf'),
    `${process.getuid?.() === 0 ? 'user root;\n' : ''}daemon off;\npid ${dir}/pid;\nerror_log ${dir}/error.log;\nevents {}
http {\naccess_log off;\n${temps.join('\n')}
server {\nlisten 127.0.0.1:${port} ssl;\nserver_name ${name};\nssl_certificate ${dir}/tls.crt;\nssl_certificate_key ${dir}/tls.key;\n${inside}\n}\n}\n`,
  );
  const child = spawn(NGINX, ['-p', dir, '-e', join(dir, 'error.log'), '-c', join(dir, 'nginx.conf')], {
    stdio: 'ignore',
  });
  await eventually('nginx listens', () => canConnect(port));
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      const closed = child.exitCode === null ? once(child, 'close') : undefined;
      child.kill('SIGTERM');
      await closed;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** A program that stands in front of a homeserver. */
export class Front implements AsyncDisposable {
  readonly port: number;
  /** PEM, where it made its certificates itself. */
  readonly authority: string | undefined;
  readonly #process: ChildProcess;
  readonly #dir: string;

  private constructor(parts: { port: number; authority: string | undefined; process: ChildProcess; dir: string }) {
    this.port = parts.port;
    this.authority = parts.authority;
    this.#process = parts.process;
    this.#dir = parts.dir;
  }

  /** Throws where the program does not take its configuration. */
  static async start(program: Program, facts: DelegationFacts, authority: TestAuthority): Promise<Front> {
    const dir = mkdtempSync(join(tmpdir(), 'hearth-front-'));
    chmodSync(dir, 0o755);
    const port = await freePort();
    const way = planWay(facts);
    for (const host of new Set([way.publicHost, way.nameHost])) {
      const { cert, key } = await authority.issue({ dnsNames: [host] });
      writeFileSync(join(dir, `${host}.key`), key);
      // HAProxy wants both in one file; the others do not mind.
      writeFileSync(join(dir, `${host}.pem`), `${cert}${key}`);
    }
    const site: Site = {
      httpsPort: port,
      certificate: (host) => ({ chain: join(dir, `${host}.pem`), key: join(dir, `${host}.key`) }),
      upstream: '127.0.0.1',
      filesDirectory: join(dir, 'files'),
      homeAddress: '192.168.1.20',
    };
    const text = writeSnippets(way, site).find(({ id }) => id === program.id)?.text ?? '';
    const { check, run } = program.prepare({ dir, text, port, site });
    const env = { ...process.env, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir, HOME: dir };
    const [checker = '', ...checkArgs] = check;
    const checked = spawnSync(checker, checkArgs, { env, encoding: 'utf8' });
    if (checked.status !== 0) throw new Error(`${check.join(' ')}: ${checked.stderr}${checked.stdout}\n${text}`);
    const [runner = '', ...runArgs] = run;
    const child = spawn(runner, runArgs, { env, stdio: 'ignore' });
    await eventually(`${program.title} listens`, () => canConnect(port));
    const made = program.authority?.(dir);
    if (made !== undefined) {
      await eventually(`${program.title} has an authority`, () => existsSync(made));
      for (const host of new Set([way.publicHost, way.nameHost]))
        await eventually(`${program.title} has a certificate for ${host}`, () => answersTls(port, host));
    }
    const parts = { port, process: child, dir, authority: made === undefined ? undefined : readFileSync(made, 'utf8') };
    return new Front(parts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#process.exitCode === null ? once(this.#process, 'close') : undefined;
    this.#process.kill('SIGTERM');
    await closed;
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function answersTls(port: number, servername: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connectTls({ host: '127.0.0.1', port, servername, rejectUnauthorized: false }, () => {
    socket.destroy();
    resolve(true);
  });
  socket.on('error', () => resolve(false));
  return promise;
}
