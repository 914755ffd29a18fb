/** Texts for the programs that stand in front of a server. They are tested with the programs themselves where these exist. */
import type { Snippet } from '../contract.ts';
import type { DelegationFacts, Way } from './facts.ts';

/** Where the program in front listens and finds things. */
export interface Site {
  readonly httpsPort: number;
  /** In PEM format; the file of the certificate holds the whole chain. */
  readonly certificate: (host: string) => { readonly chain: string; readonly key: string };
  /** Where it reaches Hearth, without the port. */
  readonly upstream: string;
  /** Where a program that can only serve files finds the two of them. */
  readonly filesDirectory: string;
  /** How this computer is reached from another one. */
  readonly homeAddress: string;
}

export function usualSite({ publicHost }: Way, { reach, homeAddress }: DelegationFacts): Site {
  return {
    httpsPort: 443,
    certificate: (host) => ({
      chain: `/etc/letsencrypt/live/${host}/fullchain.pem`,
      key: `/etc/letsencrypt/live/${host}/privkey.pem`,
    }),
    upstream: '127.0.0.1',
    filesDirectory: `/var/www/matrix-${publicHost}`,
    homeAddress: reach === 'proxy' && homeAddress !== undefined ? homeAddress : (homeAddress ?? '192.168.1.20'),
  };
}

export function writeSnippets(way: Way, site: Site): Snippet[] {
  return [
    hearth(way),
    nginx(way, site),
    caddy(way, site),
    apache(way, site),
    haproxy(way, site),
    traefik(way, site),
    tunnel(way, site),
    elsewhere(way, site),
  ];
}

/** Pages that people open in a browser: what invitations lead to, and the code by which devices are connected. */
const PUBLIC_PAGES = ['/_hearth/join', '/_hearth/connect'] as const;

/** Whether the files belong to a site of their own: the server name's. */
function isDelegated({ nameHost, publicHost, delegate }: Way): boolean {
  return delegate !== undefined && nameHost !== publicHost;
}

/** Where the name says the port itself, that one is served as well. */
function portsOf({ serverName, delegate }: Way, { httpsPort }: Site): number[] {
  if (delegate !== undefined) return [httpsPort];
  const own = Number(/:(\d+)$/.exec(serverName)?.[1] ?? 8448);
  return own === httpsPort ? [httpsPort] : [httpsPort, own];
}

export function hearth({ clientUrl, clientPort, serverPort, nameHost, publicHost }: Way): Snippet {
  const ports = clientPort === serverPort ? [`client, federation`] : [`client`, `federation`];
  const listeners = ports.map(
    (names, index) => `  - port: ${index === 0 ? clientPort : serverPort}
    type: http
    tls: false
    x_forwarded: true
    bind_addresses: ['127.0.0.1']
    resources:
      - names: [${names}]`,
  );
  const file =
    nameHost === publicHost
      ? `
# Only if everything that is asked of ${nameHost} reaches Hearth: then it can serve the files itself.
#serve_server_wellknown: true
`
      : '';
  return {
    id: 'hearth',
    title: 'Hearth behind a reverse proxy',
    where: 'homeserver.yaml: Hearth writes it when "behind a reverse proxy" is chosen',
    language: 'yaml',
    text: `public_baseurl: ${clientUrl}/

listeners:
${listeners.join('\n')}
${file}`,
  };
}

export function nginx(way: Way, site: Site): Snippet {
  const { nameHost, publicHost, files } = way;
  const locations = `
    location = /.well-known/matrix/server {
        default_type application/json;
        add_header Access-Control-Allow-Origin * always;
        return 200 '${files.server}';
    }
    location = /.well-known/matrix/client {
        default_type application/json;
        add_header Access-Control-Allow-Origin * always;
        return 200 '${files.client}';
    }`;
  const head = (host: string, ports: readonly number[]): string => {
    const { chain, key } = site.certificate(host);
    const listens = ports.map((port) => `    listen ${port} ssl;\n    listen [::]:${port} ssl;`).join('\n');
    return `${listens}
    server_name ${host};
    ssl_certificate ${chain};
    ssl_certificate_key ${key};
`;
  };
  const pass = (port: number, pattern: string): string => `
    location ~ ${pattern} {
        # Nothing may follow the port here, not even a slash: nginx would rewrite the address, and signatures would be wrong.
        proxy_pass http://${site.upstream}:${port};
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        # Else a refusal of a large upload would not arrive.
        proxy_set_header Connection "";
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        client_max_body_size ${way.maxUploadMegabytes}M;
        proxy_request_buffering off;
        proxy_buffering off;
        proxy_read_timeout 180s;
    }`;
  const servers = way.serverPort === way.clientPort ? '' : pass(way.serverPort, '^/_matrix/(federation|key)/');
  const main = `server {
${head(publicHost, portsOf(way, site))}${servers}${pass(way.clientPort, '^/((_matrix|_synapse/client)(/|$)|_hearth/(join|connect)$)')}
${isDelegated(way) ? '' : `${locations}\n`}}
`;
  const named = isDelegated(way)
    ? `
# Add the two locations to the site of ${nameHost}, if there is one already.
server {
${head(nameHost, [site.httpsPort])}${locations}
}
`
    : '';
  return {
    id: 'nginx',
    title: 'nginx',
    where: '/etc/nginx/conf.d/matrix.conf, then nginx -t and nginx -s reload',
    language: 'nginx',
    text: main + named,
  };
}

export function caddy(way: Way, site: Site): Snippet {
  const { nameHost, publicHost, files, clientPort, serverPort } = way;
  const answers = `	handle /.well-known/matrix/server {
		header Content-Type application/json
		header Access-Control-Allow-Origin *
		respond \`${files.server}\`
	}
	handle /.well-known/matrix/client {
		header Content-Type application/json
		header Access-Control-Allow-Origin *
		respond \`${files.client}\`
	}
`;
  const passed = ['/_matrix/*', '/_synapse/client/*', ...PUBLIC_PAGES].map(
    (path) => `	handle ${path} {\n		reverse_proxy ${site.upstream}:${clientPort}\n	}\n`,
  );
  if (serverPort !== clientPort) {
    for (const path of ['/_matrix/federation/*', '/_matrix/key/*']) {
      passed.unshift(`	handle ${path} {\n		reverse_proxy ${site.upstream}:${serverPort}\n	}\n`);
    }
  }
  const addresses = portsOf(way, site).map((port) => (port === 443 ? publicHost : `${publicHost}:${port}`));
  const nameAddress = site.httpsPort === 443 ? nameHost : `${nameHost}:${site.httpsPort}`;
  return {
    id: 'caddy',
    title: 'Caddy',
    where: '/etc/caddy/Caddyfile, then caddy reload; it gets the certificates by itself',
    language: 'caddy',
    text: `${addresses.join(', ')} {
${passed.join('')}${isDelegated(way) ? '' : answers}}
${isDelegated(way) ? `\n# Add the two answers to the site of ${nameHost}, if there is one already.\n${nameAddress} {\n${answers}}\n` : ''}`,
  };
}

export function apache(way: Way, site: Site): Snippet {
  const { nameHost, publicHost, files, clientPort, serverPort } = way;
  const files_ = `    # Two files: ${site.filesDirectory}/server and ${site.filesDirectory}/client, with what stands at the end.
    Alias /.well-known/matrix/ ${site.filesDirectory}/
    <Directory ${site.filesDirectory}>
        Require all granted
        ForceType application/json
        Header always set Access-Control-Allow-Origin "*"
    </Directory>
`;
  const pass = (path: string, port: number): string =>
    `    ProxyPass ${path} http://${site.upstream}:${port}${path} nocanon timeout=180\n    ProxyPassReverse ${path} http://${site.upstream}:${port}${path}\n`;
  const proxied = [
    ...(serverPort === clientPort ? [] : [pass('/_matrix/federation', serverPort), pass('/_matrix/key', serverPort)]),
    pass('/_matrix', clientPort),
    pass('/_synapse/client', clientPort),
    ...PUBLIC_PAGES.map((page) => pass(page, clientPort)),
  ].join('');
  const head = (host: string, ports: readonly number[]): string => {
    const { chain, key } = site.certificate(host);
    return `<VirtualHost ${ports.map((port) => `*:${port}`).join(' ')}>
    ServerName ${host}
    SSLEngine on
    SSLCertificateFile ${chain}
    SSLCertificateKeyFile ${key}
`;
  };
  const named = isDelegated(way)
    ? `
# Add the lines from Alias to </Directory> to the site of ${nameHost}, if there is one already.
${head(nameHost, [site.httpsPort])}${files_}</VirtualHost>
`
    : '';
  return {
    id: 'apache',
    title: 'Apache',
    where:
      '/etc/apache2/sites-available/matrix.conf, then a2enmod ssl proxy proxy_http headers, a2ensite matrix, and reload',
    language: 'apache',
    text: `${head(publicHost, portsOf(way, site))}    # Both are needed, and nocanon below: otherwise Apache rewrites addresses, and signatures are wrong.
    AllowEncodedSlashes NoDecode
    ProxyPreserveHost On
    RequestHeader set X-Forwarded-Proto expr=%{REQUEST_SCHEME}
    LimitRequestBody ${way.maxUploadMegabytes * 1024 * 1024}
${proxied}${isDelegated(way) ? '' : files_}</VirtualHost>
${named}
# ${site.filesDirectory}/server:
#   ${files.server}
# ${site.filesDirectory}/client:
#   ${files.client}
`,
  };
}

export function haproxy(way: Way, site: Site): Snippet {
  const { nameHost, files, clientPort, serverPort, publicHost } = way;
  const certificates = [...new Set([publicHost, nameHost])].map((host) => site.certificate(host).chain);
  const binds = portsOf(way, site).map(
    (port) => `    bind :::${port} v4v6 ssl ${certificates.map((chain) => `crt ${chain}`).join(' ')} alpn h2,http/1.1`,
  );
  const answer = (name: string, text: string): string =>
    `    http-request return status 200 content-type application/json hdr Access-Control-Allow-Origin * string '${text}' if { path /.well-known/matrix/${name} } is_name\n`;
  const separate = serverPort !== clientPort;
  return {
    id: 'haproxy',
    title: 'HAProxy',
    where: '/etc/haproxy/haproxy.cfg; each file after crt holds the certificate, its chain and its key together',
    language: 'haproxy',
    text: `frontend matrix
    mode http
    timeout client 180s
${binds.join('\n')}
    acl is_name hdr(host),field(1,:) -i ${nameHost}
    acl is_matrix path_beg /_matrix/ /_synapse/client/
    acl is_page path ${PUBLIC_PAGES.join(' ')}
${answer('server', files.server)}${answer('client', files.client)}    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https
${separate ? '    use_backend hearth_servers if { path_beg /_matrix/federation/ /_matrix/key/ }\n' : ''}    use_backend hearth if is_matrix or is_page

backend hearth
    mode http
    timeout connect 5s
    timeout server 180s
    server hearth ${site.upstream}:${clientPort}
${separate ? `\nbackend hearth_servers\n    mode http\n    timeout connect 5s\n    timeout server 180s\n    server hearth ${site.upstream}:${serverPort}\n` : ''}`,
  };
}

export function traefik(way: Way, site: Site): Snippet {
  const { nameHost, publicHost, clientPort, serverPort } = way;
  const hosts = [...new Set([publicHost, nameHost])];
  const rule = (paths: readonly string[]): string => {
    const isHost = hosts.map((host) => `Host(\`${host}\`)`).join(' || ');
    const isPath = paths.map((path) => `PathPrefix(\`${path}\`)`).join(' || ');
    return `(${isHost}) && (${isPath})`;
  };
  const router = (name: string, paths: readonly string[], service: string): string => `    ${name}:
      rule: "${rule(paths)}"
      entryPoints: [websecure]
      service: ${service}
      tls:
        certResolver: letsencrypt
`;
  const service = (name: string, port: number): string => `    ${name}:
      loadBalancer:
        servers:
          - url: "http://${site.upstream}:${port}"
`;
  const separate = serverPort !== clientPort;
  return {
    id: 'traefik',
    title: 'Traefik',
    where: 'a file of the file provider, and the static configuration',
    language: 'yaml',
    text: `# Traefik serves no files. Hearth does it for it: set serve_server_wellknown: true in homeserver.yaml, and public_baseurl.
http:
  routers:
${separate ? router('matrix-servers', ['/_matrix/federation', '/_matrix/key'], 'hearth-servers') : ''}${router('matrix', ['/_matrix', '/_synapse/client', ...PUBLIC_PAGES, '/.well-known/matrix'], 'hearth')}  services:
${service('hearth', clientPort)}${separate ? service('hearth-servers', serverPort) : ''}
# In the static configuration. Newer versions refuse escaped characters in addresses unless they are told not to.
# entryPoints:
#   websecure:
#     address: ":${site.httpsPort}"
#     transport:
#       respondingTimeouts:
#         readTimeout: 0
#     http:
#       sanitizePath: false
#       encodedCharacters:
#         allowEncodedSlash: true
#         allowEncodedPercent: true
#         allowEncodedQuestionMark: true
#         allowEncodedHash: true
`,
  };
}

export function tunnel(way: Way, site: Site): Snippet {
  const { publicHost, nameHost, clientPort, serverPort } = way;
  const hosts = [...new Set([publicHost, nameHost])];
  const entry = (host: string, path: string, port: number): string =>
    `  - hostname: ${host}\n    path: ${path}\n    service: http://${site.upstream}:${port}\n`;
  const entries = hosts.flatMap((host) => [
    ...(serverPort === clientPort ? [] : [entry(host, '^/_matrix/(federation|key)/', serverPort)]),
    entry(
      host,
      host === publicHost
        ? '^/((_matrix|_synapse/client|.well-known/matrix)/|_hearth/(join|connect)$)'
        : '^/(_matrix|.well-known/matrix)/',
      clientPort,
    ),
  ]);
  return {
    id: 'cloudflared',
    title: 'Cloudflare tunnel',
    where: '/etc/cloudflared/config.yml on this computer',
    language: 'yaml',
    text: `# No port of the router has to be open. Set serve_server_wellknown: true in homeserver.yaml, and public_baseurl:
# Hearth then serves the two files itself. Without the delegation file nothing works, since a tunnel has no port 8448.
# In the dashboard, except these names from bot checks and from caching. Uploads are limited there (100 MB in free plans).
# Once: cloudflared tunnel login, cloudflared tunnel create hearth (it tells the ID), and for the DNS records
${hosts.map((host) => `# cloudflared tunnel route dns hearth ${host}`).join('\n')}
tunnel: hearth
credentials-file: /etc/cloudflared/THE-ID-OF-THE-TUNNEL.json
ingress:
${entries.join('')}  - service: http_status:404
`,
  };
}

export function elsewhere(way: Way, site: Site): Snippet {
  return {
    id: 'elsewhere',
    title: 'A reverse proxy on another computer',
    where: 'homeserver.yaml, and the text for your proxy with another address in it',
    language: 'yaml',
    text: `# In the text for your proxy, write ${site.homeAddress} in place of 127.0.0.1, and give this computer that address for good (in the router: a fixed lease).
# Hearth then has to listen in the home network as well:
listeners:
  - port: ${way.clientPort}
    type: http
    tls: false
    x_forwarded: true
    bind_addresses: ['127.0.0.1', '${site.homeAddress}']
    resources:
      - names: [client, federation]
# Allow port ${way.clientPort} in this computer's firewall for the proxy alone: whoever else gets there could pretend to be anybody's address.
`,
  };
}
