import { notFound } from '../../../matrix/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../../matrix/json.ts';
import type { Clock } from '../../../util/clock.ts';
import type { AppserviceClient } from './client.ts';
import type { ApplicationService } from './registry.ts';

/** How long it is remembered what a service says of a network, ms. */
const REMEMBERED_MS = 3_600_000;

/** Networks that application services reach (spec: "Third-party networks"). What they say is joined. */
export interface ThirdPartyNetworks {
  /** Protocol → what is known of it. */
  listProtocols(): Promise<JsonObject>;
  /** @throws MatrixError M_NOT_FOUND */
  getProtocol(protocol: string): Promise<JsonObject>;
  /** @throws MatrixError M_NOT_FOUND where none is found */
  find(what: 'location' | 'user', protocol: string, fields: URLSearchParams): Promise<JsonObject[]>;
  /** The other way round: what an alias, or a user, stands for. @throws MatrixError M_NOT_FOUND where none is found */
  findOf(what: 'location' | 'user', name: string): Promise<JsonObject[]>;
}

export function createThirdPartyNetworks(
  services: readonly (readonly [ApplicationService, AppserviceClient])[],
  clock: Pick<Clock, 'monotonic'>,
): ThirdPartyNetworks {
  /** By service and protocol. */
  const remembered = new Map<string, { readonly metadata: JsonObject; readonly until: number }>();
  const protocols = [...new Set(services.flatMap(([{ registration }]) => registration.protocols))];
  const servicesOf = (protocol: string) =>
    services.filter(([{ registration }]) => registration.protocols.includes(protocol));

  async function fetchMetadata(
    [service, client]: readonly [ApplicationService, AppserviceClient],
    protocol: string,
  ): Promise<JsonObject | undefined> {
    const key = `${service.id}\0${protocol}`;
    const known = remembered.get(key);
    if (known !== undefined && known.until > clock.monotonic()) return known.metadata;
    const outcome = await client.query('thirdparty', `protocol/${encodeURIComponent(protocol)}`);
    const metadata =
      outcome.kind === 'answer' && outcome.status === 200 ? readMetadata(service, outcome.body) : undefined;
    if (metadata === undefined) {
      // What one that is silent said last is better than nothing.
      return outcome.kind === 'silence' ? known?.metadata : undefined;
    }
    remembered.set(key, { metadata, until: clock.monotonic() + REMEMBERED_MS });
    return metadata;
  }

  async function findProtocol(protocol: string): Promise<JsonObject | undefined> {
    const found = await Promise.all(servicesOf(protocol).map((service) => fetchMetadata(service, protocol)));
    const known = found.filter((metadata) => metadata !== undefined);
    const [first] = known;
    if (first === undefined) return undefined;
    const instances = known.flatMap(({ instances: some }) => (Array.isArray(some) ? some : []));
    return { ...first, instances };
  }

  async function gather(
    asked: readonly (readonly [ApplicationService, AppserviceClient])[],
    what: 'location' | 'user',
    path: string,
    query: URLSearchParams,
  ): Promise<JsonObject[]> {
    const outcomes = await Promise.all(asked.map(([, client]) => client.query('thirdparty', path, query)));
    const found = outcomes.flatMap((outcome) =>
      outcome.kind === 'answer' && outcome.status === 200 ? readResults(what, outcome.body) : [],
    );
    if (found.length === 0) throw notFound(`No such ${what} is known`);
    return found;
  }

  return {
    listProtocols: async () => {
      const found = await Promise.all(protocols.map(async (name) => [name, await findProtocol(name)] as const));
      return Object.fromEntries(
        found.flatMap(([name, metadata]) => (metadata === undefined ? [] : [[name, metadata] as const])),
      );
    },
    getProtocol: async (protocol) => {
      const metadata = await findProtocol(protocol);
      if (metadata === undefined) throw notFound('This protocol is not known');
      return metadata;
    },
    find: (what, protocol, fields) =>
      gather(servicesOf(protocol), what, `${what}/${encodeURIComponent(protocol)}`, fields),
    findOf: (what, name) => {
      const asked = services.filter(([{ registration }]) => registration.protocols.length > 0);
      return gather(asked, what, what, new URLSearchParams({ [what === 'user' ? 'userid' : 'alias']: name }));
    },
  };
}

/** What a service says of a protocol, if it has the form; each network gets the name under which it has a room directory. */
function readMetadata(service: ApplicationService, said: JsonValue | undefined): JsonObject | undefined {
  if (!isJsonObject(said)) return undefined;
  const { instances = [] } = said;
  if (!Array.isArray(instances)) return undefined;
  const named = instances.map((instance: JsonValue): JsonObject | undefined => {
    if (!isJsonObject(instance) || typeof instance['desc'] !== 'string') return undefined;
    const networkId = instance['network_id'];
    return typeof networkId === 'string' ? { ...instance, instance_id: `${service.id}|${networkId}` } : instance;
  });
  return { ...said, instances: named.filter((instance) => instance !== undefined) };
}

function readResults(what: 'location' | 'user', said: JsonValue | undefined): JsonObject[] {
  const name = what === 'user' ? 'userid' : 'alias';
  if (!Array.isArray(said)) return [];
  return said.filter(
    (result: JsonValue): result is JsonObject =>
      isJsonObject(result) &&
      typeof result[name] === 'string' &&
      typeof result['protocol'] === 'string' &&
      isJsonObject(result['fields']),
  );
}
