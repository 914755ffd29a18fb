import type { Requester } from '../../http/route.ts';
import { isUserId, type ServerName } from '../../matrix/identifiers.ts';
import type { JsonObject } from '../../matrix/json.ts';

/** What this server can do for a user; each fact comes from whoever knows it. */
export interface CapabilityFacts {
  readonly roomVersions: {
    readonly default: string;
    readonly available: Readonly<Record<string, 'stable' | 'unstable'>>;
  };
  readonly forgetsRoomsOnLeave: boolean;
  readonly givesLoginTokens: boolean;
  /** The longest delay (ms) and the most at once, where events can be delayed. */
  readonly delayedEvents?: { readonly maxDelayMs: number; readonly maxScheduled: number } | undefined;
  canChangePassword(requester: Requester): boolean;
  canChangeThreepids(requester: Requester): boolean;
  canChangeDisplayName(requester: Requester): boolean;
  canChangeAvatar(requester: Requester): boolean;
  /** Lock and suspend other accounts. */
  canModerateAccounts(requester: Requester): boolean;
}

export interface CapabilitiesNeeds {
  readonly facts: CapabilityFacts;
  readonly settings: {
    /** Body of `/.well-known/matrix/client`; undefined where the server was not told its address. */
    readonly wellKnownClient: JsonObject | undefined;
    /** Host and port of `/.well-known/matrix/server`; undefined: not served from here. */
    readonly federationAddress: string | undefined;
    /** `mailto:` address, user ID, or web address of whoever runs this server. */
    readonly adminContact: string | undefined;
    /** Shown to users; undefined: they are not told. `only`: the only servers this one deals with, if it is not all. */
    readonly dealings?: { readonly only: readonly ServerName[] | undefined } | undefined;
  };
  /** Features from proposals not in the spec yet (or still looked for under their old names) which work here. */
  readonly unstableFeatures: Readonly<Record<string, boolean>>;
}

/**
 * The versions of the spec whose client-server API this server speaks, oldest first. Clients look for the one they know;
 * those before 1.1 are there for old ones.
 */
export const SPEC_VERSIONS: readonly string[] = [
  'r0.0.1',
  'r0.1.0',
  'r0.2.0',
  'r0.3.0',
  'r0.4.0',
  'r0.5.0',
  'r0.6.0',
  'r0.6.1',
  ...Array.from({ length: 19 }, (_, minor) => `v1.${minor + 1}`),
];

/** What a user can do here, as `GET /capabilities` says it (spec: "Capabilities negotiation"). */
export function describeCapabilities(facts: CapabilityFacts, requester: Requester): JsonObject {
  const displayName = facts.canChangeDisplayName(requester);
  const avatar = facts.canChangeAvatar(requester);
  const disallowed = [...(displayName ? [] : ['displayname']), ...(avatar ? [] : ['avatar_url'])];
  return {
    'm.room_versions': { default: facts.roomVersions.default, available: facts.roomVersions.available },
    'm.change_password': { enabled: facts.canChangePassword(requester) },
    'm.set_displayname': { enabled: displayName },
    'm.set_avatar_url': { enabled: avatar },
    'm.profile_fields': { enabled: true, ...(disallowed.length === 0 ? {} : { disallowed }) },
    'm.3pid_changes': { enabled: facts.canChangeThreepids(requester) },
    'm.get_login_token': { enabled: facts.givesLoginTokens && !requester.isGuest },
    'm.forget_forced_upon_leave': { enabled: facts.forgetsRoomsOnLeave },
    ...describeDelays(facts.delayedEvents),
    // To be left out where neither is possible.
    ...(facts.canModerateAccounts(requester) ? { 'm.account_moderation': { suspend: true, lock: true } } : {}),
  };
}

/** MSC4140. */
function describeDelays(limits: CapabilityFacts['delayedEvents']): JsonObject {
  if (limits === undefined) return {};
  const { maxDelayMs, maxScheduled } = limits;
  return { 'org.matrix.msc4140.delayed_events': { max_delay_ms: maxDelayMs, max_scheduled: maxScheduled } };
}

/** Body of `/.well-known/matrix/support`; undefined if the contact is of no kind that can be told there. */
export function describeSupport(adminContact: string | undefined): JsonObject | undefined {
  if (adminContact === undefined) return undefined;
  const contact = adminContact.trim();
  const role = 'm.role.admin';
  if (isUserId(contact)) return { contacts: [{ matrix_id: contact, role }] };
  const email = contact.replace(/^mailto:/i, '');
  if (/^[^@\s:/]+@[^@\s]+$/.test(email)) return { contacts: [{ email_address: email, role }] };
  return /^https?:\/\/\S+$/i.test(contact) ? { support_page: contact } : undefined;
}
