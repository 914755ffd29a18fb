import { buildList, listHolds } from '../../federation/outbound/address-guard.ts';
import type { Clock } from '../../util/clock.ts';
import type { Finding, NameCheck, Reach } from '../contract.ts';
import { checkSpelling } from './names.ts';

/** What is asked of the world about a name. */
export interface NameWorld {
  /** Rejects with a DnsError. */
  addresses(host: string): Promise<readonly string[]>;
  /** The JSON that is found at an https address; undefined where there is none. Never rejects. */
  getJson(url: string): Promise<unknown>;
  /** Of this machine, as others may reach it. */
  ownAddresses(): readonly string[];
}

/** Somebody is typing, and waits. */
const PATIENCE_MS = 2800;

const HOME = buildList([
  '127.0.0.0/8',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '169.254.0.0/16',
  '100.64.0.0/10',
  '::1',
  'fc00::/7',
  'fe80::/10',
]);

/** What is to be said of a name for this server; changes nothing. Answers within three seconds, with what is known by then. */
export async function checkName(
  {
    reach,
    serverName,
    current,
  }: { readonly reach: Reach; readonly serverName: string; readonly current: string | undefined },
  { clock, world }: { readonly clock: Clock; readonly world: NameWorld },
): Promise<NameCheck> {
  const findings = checkSpelling(reach, serverName);
  if (findings.some(({ verdict }) => verdict === 'bad')) return { verdict: 'refused', findings };
  if (reach !== 'home') {
    const looks = [
      look(clock, 'address', 'Address', checkAddresses(serverName, world)),
      ...(serverName === current
        ? []
        : [look(clock, 'other-server', 'Other servers of this name', checkTaken(serverName, world))]),
    ];
    const [address, ...others] = await Promise.all(looks);
    if (address !== undefined) findings.push(address);
    // Where the name cannot even be looked up, silence says nothing of who has it.
    const isUnknown = address?.verdict === 'skipped';
    findings.push(
      ...others.map((other): Finding => {
        if (!isUnknown || other.verdict !== 'good') return other;
        return {
          ...other,
          verdict: 'skipped',
          text: 'It could not be found out whether another server has this name.',
        };
      }),
    );
  }
  const verdicts = new Set(findings.map(({ verdict }) => verdict));
  if (verdicts.size === 0) {
    findings.push({ id: 'spelling', title: 'Spelling', verdict: 'good', text: 'This is a good name.' });
  }
  return { verdict: verdicts.has('bad') ? 'refused' : verdicts.has('warning') ? 'warning' : 'good', findings };
}

async function look(
  clock: Clock,
  id: string,
  title: string,
  finding: Promise<Omit<Finding, 'id' | 'title'>>,
): Promise<Finding> {
  const { promise: silence, resolve } = Promise.withResolvers<Omit<Finding, 'id' | 'title'>>();
  const timer = clock.after(PATIENCE_MS, () => resolve({ verdict: 'skipped', text: 'There was no answer in time.' }));
  try {
    return { id, title, ...(await Promise.race([finding, silence])) };
  } finally {
    timer.cancel();
  }
}

async function checkAddresses(name: string, world: NameWorld): Promise<Omit<Finding, 'id' | 'title'>> {
  let addresses: readonly string[];
  try {
    addresses = await world.addresses(name);
  } catch (error) {
    const isDefinite = error instanceof Error && 'isDefinite' in error && error.isDefinite === true;
    return isDefinite
      ? {
          verdict: 'warning',
          text: `${name} does not lead anywhere yet.`,
          nextStep: 'That can be done later: the guide shows the records to make at whoever manages your domain.',
        }
      : {
          verdict: 'skipped',
          text: 'It could not be found out where this name leads.',
          nextStep: 'Look whether this machine is online.',
        };
  }
  const details = [...addresses];
  const own = new Set(world.ownAddresses());
  if (addresses.every((address) => listHolds(HOME, address))) {
    return {
      verdict: 'warning',
      text: `${name} leads to an address of a home network: nobody outside can reach it.`,
      nextStep: 'Let the name lead to the public address of your router.',
      details,
    };
  }
  return addresses.some((address) => own.has(address))
    ? { verdict: 'good', text: `${name} leads to this machine.`, details }
    : {
        verdict: 'good',
        text: `${name} leads somewhere. Whether that is here is checked when the server runs.`,
        details,
      };
}

/** Whether somebody else speaks Matrix under this name already (server-server API, "Server discovery"). */
async function checkTaken(name: string, world: NameWorld): Promise<Omit<Finding, 'id' | 'title'>> {
  const wellKnown = await world.getJson(`https://${name}/.well-known/matrix/server`);
  const delegate = memberOf(wellKnown, 'm.server');
  const target = typeof delegate === 'string' && /^[\w.:[\]-]{1,255}$/.test(delegate) ? delegate : name;
  const base = /:\d+$/.test(target) ? `https://${target}` : `https://${target}:8448`;
  const keys = await world.getJson(`${base}/_matrix/key/v2/server`);
  if (memberOf(keys, 'server_name') === name) {
    return {
      verdict: 'warning',
      text: `Another Matrix server answers as ${name} already.`,
      nextStep:
        'Two servers cannot share a name. Take another one, such as one with something before the first dot, unless you are replacing that server for good.',
      details: [base],
    };
  }
  if (typeof delegate === 'string') {
    return {
      verdict: 'warning',
      text: `${name} says that its Matrix server is ${delegate}.`,
      nextStep: 'If that is to be this server, all is well. If not, take another name.',
    };
  }
  return { verdict: 'good', text: 'No other Matrix server answers under this name.' };
}

function memberOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
}
