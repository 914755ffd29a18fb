import type { Finding } from '../contract.ts';
import type { PlaceReport } from './endpoint.ts';

/** Findings that only concern clients: other servers do not mind. */
const ABOUT_CLIENTS = new Set(['client-file', 'client-api', 'client-browser', 'client-path', 'client-upload']);

/** The report in one sentence. */
export function sum(name: string, findings: readonly Finding[], places: readonly PlaceReport[]): string {
  const isUsable = places.some(({ isUsable: usable }) => usable);
  const faults = findings.filter(({ verdict }) => verdict === 'bad');
  const [fault] = faults;
  const [doubt] = findings.filter(({ verdict }) => verdict === 'warning');
  if (isUsable) {
    if (fault !== undefined) {
      const whom = faults.every(({ id }) => ABOUT_CLIENTS.has(id))
        ? 'people’s apps do not connect'
        : 'not everything works';
      return `Other servers can find ${name}, but ${whom}: ${fault.text}`;
    }
    return doubt === undefined
      ? `All is well: other servers can reach ${name}.`
      : `Other servers can reach ${name}. One thing should be looked at: ${doubt.text}`;
  }
  if (fault !== undefined) return `Other servers cannot reach ${name}: ${fault.text}`;
  if (findings.some(({ id, verdict }) => id === 'heard' && verdict === 'good')) {
    return `Other servers get through to ${name}, though it cannot be seen from here.`;
  }
  if (doubt !== undefined) return `Whether other servers can reach ${name} could not be seen from here: ${doubt.text}`;
  return `Whether other servers can reach ${name} could not be seen from here.`;
}
