import type { EchoPort, OwnListener, OwnServer } from '../appliance/doctor/port.ts';
import { isHomeName } from '../appliance/doctor/name.ts';
import type { Config } from '../config/types.ts';
import { signRequest } from '../federation/request-signing.ts';
import type { SigningKey } from '../matrix/signing.ts';

/** Our own server, as its configuration describes it and as it runs, if it does. */
export function ownServerOf(
  { serverName, publicBaseUrl, publicBaseUrlGiven, listeners, federation, media }: Config,
  signingKeys: readonly [SigningKey, ...SigningKey[]],
  running?: {
    readonly addresses: readonly (OwnListener & { readonly resources: readonly string[] })[];
    readonly echo: EchoPort;
  },
): OwnServer {
  const [signingKey] = signingKeys;
  const configured = listeners.flatMap(({ port, bindAddresses, tls, resources }) =>
    port === undefined || port === 0
      ? []
      : bindAddresses.slice(0, 1).map((address) => ({ address, port, tls, resources })),
  );
  const all = running?.addresses ?? configured;
  const ofOthers = all.filter(({ port, resources }) => port !== 0 && resources.includes('federation'));
  return {
    serverName,
    keys: Object.fromEntries(signingKeys.map(({ keyId, publicKeyBase64 }) => [keyId, publicKeyBase64])),
    clientUrl: publicBaseUrlGiven ? publicBaseUrl.replace(/\/$/, '') : undefined,
    listeners: ofOthers.map(({ address, port, tls }) => ({ address: reachable(address), port, tls })),
    isBySocket: listeners.some(({ port, resources }) => port === undefined && resources.includes('federation')),
    forClients: all
      .filter(({ port, resources }) => port !== 0 && resources.includes('client'))
      .map(({ address, port, tls }) => ({ address, port, tls })),
    isForHomeOnly: federation.allowedServers?.length === 0 || isHomeName(serverName.replace(/:\d+$/, '')),
    sign: (request) => signRequest({ ...request, origin: serverName }, signingKey),
    echo: running?.echo,
    heard: running === undefined ? undefined : () => running.echo.heard(),
    maxUploadBytes: media.maxUploadBytes,
  };
}

/** Where a listener on all addresses is reached from this machine. */
function reachable(address: string): string {
  return address === '::' || address === '0.0.0.0' ? '127.0.0.1' : address;
}
