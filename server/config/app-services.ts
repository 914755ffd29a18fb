import { isMap } from 'yaml';
import type { ServerName, UserId } from '../matrix/identifiers.ts';
import { buildUserId } from '../matrix/identifiers.ts';
import { flag, type Kind, list, orNull, scalar, secretLike, text, textLike } from './kinds.ts';
import { option, type Options, readFields, required, type Values } from './option.ts';
import { describeValue, type Place } from './place.ts';
import { findSimilar } from './problems.ts';
import type { Source } from './source.ts';
import type { AppServiceRegistration } from './types.ts';
import { readYamlFile } from './yaml-file.ts';

/**
 * The registrations of application services that `app_service_config_files` names (spec: application service API,
 * "Registration"). What is wrong with one is recorded in `source` with its file, line and key.
 */
export function readAppServices(source: Source, serverName: ServerName): readonly AppServiceRegistration[] {
  const services: AppServiceRegistration[] = [];
  const places = new Map<string, Place>();
  for (const path of source.values.app_service_config_files) {
    const purpose = 'the registration of an application service is a mapping, one "name: value" a line';
    const root = readYamlFile(path, purpose, source);
    if (root === undefined) continue;
    const service = readRegistration(root, serverName);
    if (service === undefined) continue;
    const alike = services.find(({ id, asToken }) => id === service.id || asToken === service.asToken);
    if (alike !== undefined) {
      const key = alike.id === service.id ? 'id' : 'as_token';
      const message = `is that of another application service, too (${places.get(alike.id)?.file.name})`;
      (root.fields().get(key) ?? root).refuse(message);
      continue;
    }
    services.push(service);
    places.set(service.id, root);
  }
  return services;
}

/** A base address, to which paths are appended. Nothing (an empty text, or null) means that nothing is to be sent. */
const serviceUrl: Kind<string> = textLike('an http:// or https:// address, or null', (value) => {
  if (value === '') return true;
  const url = URL.parse(value);
  return (
    url !== null &&
    ['http:', 'https:'].includes(url.protocol) &&
    url.hostname !== '' &&
    `${url.username}${url.password}${url.search}${url.hash}` === ''
  );
});

/** Tokens are sent in a header, where white space would end them. */
const token: Kind<string> = secretLike('text without spaces', (value) => /^[\x21-\x7e]+$/.test(value));

const serviceId: Kind<string> = textLike('text of 1 to 255 characters', (value) => /^.{1,255}$/s.test(value));

/**
 * A regular expression as registrations have them, made for Python: it has to match from the first character on, wherever
 * it ends.
 */
const namespacePattern: Kind<RegExp> = scalar('a regular expression', { type: 'text' }, (value) => {
  if (typeof value !== 'string') return undefined;
  const isCaseless = value.startsWith('(?i)');
  const plain = (isCaseless ? value.slice(4) : value)
    .replaceAll('(?P<', '(?<')
    .replace(/^\\A/, '')
    .replace(/\\Z$/, '$');
  try {
    return new RegExp(`^(?:${plain})`, isCaseless ? 'i' : '');
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
});

const namespaceOptions = {
  regex: required(namespacePattern, 'What the names in it look like.'),
  exclusive: required(flag, 'Whether nobody else may have such names.'),
};

const namespace: Kind<Values<typeof namespaceOptions>> = lenient(namespaceOptions);

const namespacesOptions = {
  users: option(list(namespace), [], 'User IDs.'),
  aliases: option(list(namespace), [], 'Room aliases.'),
  rooms: option(list(namespace), [], 'Room IDs.'),
};

const registrationOptions = {
  id: required(serviceId, 'What it is called among application services.'),
  url: option(orNull(serviceUrl), null, 'Where it listens; null if it does not.'),
  as_token: required(token, 'What it shows to this server.'),
  hs_token: required(token, 'What this server shows to it.'),
  sender_localpart: required(text, 'The user it speaks as unless it says another.'),
  namespaces: required(lenient(namespacesOptions), 'What it is concerned with.'),
  rate_limited: option(flag, true, 'Whether its users are held to the rate limits.'),
  protocols: option(list(text), [], 'Networks that it reaches.'),
  receive_ephemeral: option(
    flag,
    false,
    'Whether it wants to know of typing, receipts, presence and messages to devices.',
  ),
  // The name before it was in the spec.
  'de.sorunome.msc2409.push_ephemeral': option(flag, false, 'The same.'),
  'org.matrix.msc3202': option(flag, false, 'Whether it wants to know of device lists and of how many keys are left.'),
};

function readRegistration(root: Place, serverName: ServerName): AppServiceRegistration | undefined {
  const problems = root.file.problems.length;
  const given = root.fields();
  for (const [name, field] of given) {
    if (Object.hasOwn(registrationOptions, name)) continue;
    const similar = findSimilar(name, Object.keys(registrationOptions));
    if (similar !== undefined) field.warn(`is not known; should it be ${similar}?`);
  }
  const { values, whole } = readFields(registrationOptions, onlyKnown(given, registrationOptions), root);
  if (!given.has('url')) root.refuse('needs url: where the application service listens, or null');
  const senderUserId = whole
    ? readSender(given.get('sender_localpart') ?? root, values.sender_localpart, serverName)
    : undefined;
  if (senderUserId === undefined || root.file.problems.length > problems) return undefined;
  const { users, aliases, rooms } = values.namespaces;
  return {
    id: values.id,
    url: values.url === '' || values.url === null ? undefined : values.url,
    asToken: values.as_token,
    hsToken: values.hs_token,
    senderUserId,
    rateLimited: values.rate_limited,
    protocols: [...new Set(values.protocols)],
    receivesEphemeral: values.receive_ephemeral || values['de.sorunome.msc2409.push_ephemeral'],
    receivesDeviceNews: values['org.matrix.msc3202'],
    namespaces: { users: users.map(toNamespace), aliases: aliases.map(toNamespace), rooms: rooms.map(toNamespace) },
  };
}

const toNamespace = ({ regex, exclusive }: Values<typeof namespaceOptions>) => ({ pattern: regex, exclusive });

function readSender(place: Place, localpart: string, serverName: ServerName): UserId | undefined {
  const userId = localpart === '' ? undefined : buildUserId(localpart, serverName);
  return userId ?? place.refuse('has to be what stands between @ and the colon of a user ID');
}

/** A mapping whose unknown keys are passed over: registrations hold notes for the application service and other servers. */
function lenient<O extends Options>(options: O): Kind<Values<O>> {
  return {
    expects: 'a mapping',
    form: { type: 'section', options },
    read(place) {
      if (!isMap(place.node)) return place.refuse(`expected a mapping, found ${describeValue(place)}`);
      const { values, whole } = readFields(options, onlyKnown(place.fields(), options), place);
      return whole ? values : undefined;
    },
  };
}

function onlyKnown(fields: ReadonlyMap<string, Place>, options: Options): ReadonlyMap<string, Place> {
  return new Map([...fields].filter(([name]) => Object.hasOwn(options, name)));
}
