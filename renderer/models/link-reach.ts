/** From where a link can be opened, as far as its address tells. */
export type LinkReach = 'here' | 'home' | 'anywhere';

const HOME_NAME = /^[^.]+$|\.(?:local|lan|home|internal|home\.arpa|fritz\.box)$/;
const HOME_ADDRESS = /^(?:10|192\.168|169\.254|172\.(?:1[6-9]|2\d|3[01])|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\./;

/** An address of this machine, of the home network, or any other. */
export function reachOfLink(link: string): LinkReach {
  const host = URL.parse(link)?.hostname ?? '';
  if (host === 'localhost' || host === '[::1]' || host.startsWith('127.')) return 'here';
  if (host.startsWith('[')) return /^\[f[cde]/.test(host) ? 'home' : 'anywhere';
  return HOME_NAME.test(host) || HOME_ADDRESS.test(host) ? 'home' : 'anywhere';
}
