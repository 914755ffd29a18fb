import { isIPv4, isIPv6 } from 'node:net';
import { scopeOf } from '../doctor/addresses.ts';
import type { Delegation } from '../contract.ts';
import { type DelegationFacts, planWay, type Way } from './facts.ts';
import { usualSite, writeSnippets } from './snippets.ts';

/** What has to be published and set up so that others find this server, to be copied as it stands. */
export function guide(facts: DelegationFacts): Delegation {
  const way = planWay(facts);
  const isAtHome = facts.reach === 'home';
  return {
    serverName: facts.serverName,
    wellKnownServer: way.files.server,
    wellKnownClient: way.files.client,
    filesFrom: way.nameHost !== way.publicHost ? 'elsewhere' : way.isDirect || isAtHome ? 'hearth' : 'proxy',
    records: isAtHome ? [] : recordsOf(way, facts),
    ports: isAtHome ? [] : portsOf(way, facts),
    snippets: isAtHome ? [] : writeSnippets(way, usualSite(way, facts)),
  };
}

function recordsOf(way: Way, { publicAddresses, reach }: DelegationFacts): Delegation['records'] {
  const { nameHost, publicHost, delegate } = way;
  const open = publicAddresses.filter((address) => scopeOf(address) === 'public');
  const ipv4 = open.find((address) => isIPv4(address));
  const ipv6 = open.find((address) => isIPv6(address));
  const records: Delegation['records'] = [];
  const isName = !isIPv4(publicHost) && !isIPv6(publicHost);
  if (isName) {
    const where =
      reach === 'proxy' ? 'The address of the reverse proxy' : 'The address your router has on the internet';
    records.push({
      type: 'A',
      name: `${publicHost}.`,
      value: ipv4 ?? '(your public IPv4 address)',
      why: `${where}. If it changes from time to time, have the router or a small program keep the record up to date (dynamic DNS). A tunnel sets this record by itself.`,
    });
    records.push({
      type: 'AAAA',
      name: `${publicHost}.`,
      value: ipv6 ?? '(the public IPv6 address of that computer)',
      why: 'Only if it can be reached by IPv6; a wrong one is worse than none.',
    });
  }
  if (delegate === undefined || nameHost === publicHost) return records;
  records.push({
    type: 'A',
    name: `${nameHost}.`,
    value: '(the address of the web server that has the two files)',
    why: `Other servers and apps first ask https://${nameHost}/.well-known/matrix/. If there is a website of that name, nothing changes: it only gets two files more.`,
  });
  records.push({
    type: 'SRV',
    name: `_matrix-fed._tcp.${nameHost}.`,
    value: `10 5 ${delegate.split(':').at(-1) ?? '443'} ${publicHost}.`,
    why: `Only in place of the file for servers, where no file can be put on ${nameHost}. Then the server needs a certificate for ${nameHost}, and people have to type its address into their apps.`,
  });
  return records;
}

function portsOf(way: Way, { listeners, reach }: DelegationFacts): Delegation['ports'] {
  const ports: Delegation['ports'] = [];
  if (way.isDirect) {
    for (const { port, tls, forClients, forServers } of listeners) {
      if (!tls || (!forClients && !forServers)) continue;
      const outside = forClients ? 443 : port;
      const whom = forClients && forServers ? 'Apps and other servers' : forClients ? 'People’s apps' : 'Other servers';
      ports.push({
        port: outside,
        protocol: 'TCP',
        to: `this computer, port ${port}`,
        why: `${whom} come in here; Hearth has the certificate itself. The firewall of this computer has to let port ${port} in, too.`,
      });
      if (forClients && forServers && port !== outside) {
        ports.push({
          port,
          protocol: 'TCP',
          to: `this computer, port ${port}`,
          why: 'The port other servers are sent to.',
        });
      }
    }
    return ports;
  }
  ports.push({
    port: 443,
    protocol: 'TCP',
    to: reach === 'proxy' ? 'the computer with the reverse proxy, port 443' : 'this computer, port 443',
    why: 'Apps and other servers come in here, at the reverse proxy; the firewall of its computer has to let them in, too. A tunnel needs no open port at all.',
  });
  if (way.delegate === undefined) {
    ports.push({
      port: Number(/:(\d+)$/.exec(way.serverName)?.[1] ?? 8448),
      protocol: 'TCP',
      to: 'the reverse proxy, same port',
      why: `Other servers come here: the name ${way.serverName} says so itself, and no file can send them elsewhere.`,
    });
  }
  return ports;
}
