import { isIP } from 'node:net';
import { isServerName } from '../../matrix/identifiers.ts';
import { isHomeName } from '../doctor/name.ts';
import type { Finding, Reach } from '../contract.ts';

/** A name for a server that nobody outside is to find (RFC 8375). */
export const HOME_NAME = 'hearth.home.arpa';

/** What is wrong with a name by itself, the worst first. Empty where nothing is. */
export function checkSpelling(reach: Reach, name: string): Finding[] {
  const bad = (text: string, nextStep: string): Finding[] => [
    { id: 'spelling', title: 'Spelling', verdict: 'bad', text, nextStep },
  ];
  const example = reach === 'home' ? HOME_NAME : 'example.com';
  if (name === '') return bad('There is no name yet.', `Type one, such as ${example}.`);
  if (/^\w+:\/\//.test(name)) {
    const host = URL.parse(name)?.hostname;
    return bad(
      'A name is no web address.',
      `Leave out what is before the name, and slashes: ${host === undefined || host === '' ? example : host}`,
    );
  }
  if (/\s/.test(name)) return bad('A name has no spaces.', `Write it like ${example}.`);
  if (name.includes('@')) return bad('This is the name of the server alone.', 'Leave out the @ and what is before it.');
  if (name.includes('/')) return bad('A name has no slashes.', `Write it like ${example}.`);
  if (isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0) {
    return bad(
      'An address of numbers can change, and a server’s name never can.',
      `Choose a name of letters, such as ${example}.`,
    );
  }
  if (name.includes(':')) {
    return bad(
      'A port would be part of everybody’s name for ever.',
      `Leave out the colon and the number: ${name.split(':')[0] ?? ''}`,
    );
  }
  if (name !== name.toLowerCase()) return bad('Names are written small.', `Write ${name.toLowerCase()}.`);
  if (name.includes('_')) return bad('A name has no underscores.', `Write a hyphen: ${name.replaceAll('_', '-')}`);
  if (/[^\x20-\x7e]/.test(name)) {
    const host = URL.parse(`http://${name}`)?.hostname;
    return bad(
      'Only a to z, digits, dots and hyphens can stand in a name.',
      `Its technical spelling is ${host ?? example}.`,
    );
  }
  if (!isServerName(name) || !name.split('.').every(isLabel)) {
    return bad(
      'This is no name that others could find.',
      `Names have letters, digits and hyphens between dots, like ${example}.`,
    );
  }
  // A user ID has at most 255 bytes, and the name is its larger part.
  if (name.length > 200) return bad('This name is too long.', 'Choose a shorter one.');
  return checkKind(reach, name);
}

function isLabel(label: string): boolean {
  return /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(label);
}

function checkKind(reach: Reach, name: string): Finding[] {
  const [top = ''] = name.split('.').slice(-1);
  const isForHome = isHomeName(name) && name.includes('.');
  const finding = (verdict: 'bad' | 'warning', text: string, nextStep: string): Finding[] => [
    { id: 'kind', title: 'Kind of name', verdict, text, nextStep },
  ];
  if (/^\d+$/.test(top))
    return finding('bad', 'The part after the last dot cannot be a number.', 'Write it like example.com.');
  if (reach !== 'home') {
    if (isForHome || name === 'localhost') {
      const ending = top === 'arpa' ? 'home.arpa' : top;
      return finding(
        'bad',
        `Names that end in .${ending} only mean something at home; nobody outside can find them.`,
        'Use a domain of your own, or choose "this home network only".',
      );
    }
    if (!name.includes('.')) {
      return finding(
        'bad',
        'A name without a dot is not found from outside.',
        'Use a domain of your own, such as example.com.',
      );
    }
    return checkPlace(name);
  }
  if (name === 'localhost') {
    return finding(
      'bad',
      'Every device means itself by "localhost", so that this name would be wrong everywhere but here.',
      `Take ${HOME_NAME}.`,
    );
  }
  if (top === 'local') {
    return finding(
      'warning',
      'Names that end in .local are given out by the devices of a network themselves; two may take the same one.',
      `${HOME_NAME} is made for this.`,
    );
  }
  if (isForHome) return [];
  if (!name.includes('.')) {
    return finding(
      'warning',
      'A name without a dot works, but some apps do not take it for a server.',
      `Better is ${HOME_NAME}.`,
    );
  }
  return finding(
    'warning',
    'If this domain is yours, you can open the server to the world later. If it is somebody else’s, you cannot.',
    `If you have no domain, take ${HOME_NAME}.`,
  );
}

/** Names that say where a server is rather than whose it is. */
const PLACES = new Set(['matrix', 'synapse', 'hearth', 'chat', 'server', 'www']);

function checkPlace(name: string): Finding[] {
  const [first = '', ...rest] = name.split('.');
  if (!PLACES.has(first) || rest.length < 2) return [];
  const shorter = rest.join('.');
  return [
    {
      id: 'place',
      title: 'Part before the domain',
      verdict: 'good',
      text: `People will be called @you:${name}. If ${shorter} is yours as well, you can call the server that, and still have it at ${name}: type ${shorter} here and https://${name} as the address for clients.`,
    },
  ];
}
