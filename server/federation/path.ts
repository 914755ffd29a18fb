/** The path of a server-server operation: `federationPath('/v1/make_join', roomId, userId)`, each part escaped. */
export function federationPath(operation: `/v${number}/${string}`, ...parts: readonly string[]): string {
  return ['/_matrix/federation', operation.slice(1), ...parts.map((part) => encodeURIComponent(part))].join('/');
}
