import { serverNameOf, type UserId } from '../../matrix/identifiers.ts';
import { type JsonObject } from '../../matrix/json.ts';
import type { Module } from '../../module.ts';
import { compileGlob, foldCase } from '../../matrix/push-rules/glob.ts';

/** Whose invites users want. */
export interface InvitePermission {
  /** Whether the invited user lets the other one invite them. If not: M_INVITE_BLOCKED. */
  readonly mayInvite: (inviter: UserId, invitee: UserId) => boolean;
  /** Whether an invite is kept from the clients of the invited user. */
  readonly isHidden: (inviter: UserId, invitee: UserId) => boolean;
}

export interface InvitePermissionNeeds {
  /** The global account data of users of this server. */
  readonly accountData: { find(userId: UserId, roomId: undefined, type: string): JsonObject | undefined };
  /** The voice of this server, whose invites nobody can refuse. */
  readonly serverNotices: UserId | undefined;
}

type Verdict = 'allow' | 'ignore' | 'block';

/** Blocks all invites (spec: "Invite permission"; MSC4380 while it was tried out). */
const BLOCKING = ['m.invite_permission_config', 'org.matrix.msc4380.invite_permission_config'] as const;
/** Tells invites apart by who sends them (MSC4155). */
const TELLING_APART = 'org.matrix.msc4155.invite_permission_config';

/**
 * Keeps unwanted invites away (spec: client-server API, "Invite permission"). What users want is in their account data,
 * and is asked for where invites are made, taken and shown.
 */
export function invitePermission({
  accountData,
  serverNotices,
}: InvitePermissionNeeds): Module & { readonly permission: InvitePermission } {
  function judge(inviter: UserId, invitee: UserId): Verdict {
    if (inviter === serverNotices) return 'allow';
    for (const type of BLOCKING) {
      if (accountData.find(invitee, undefined, type)?.['default_action'] === 'block') return 'block';
    }
    const rules = accountData.find(invitee, undefined, TELLING_APART);
    return rules === undefined ? 'allow' : judgeByRules(rules, inviter);
  }
  return {
    name: 'invite-permission',
    permission: {
      mayInvite: (inviter, invitee) => judge(inviter, invitee) !== 'block',
      isHidden: (inviter, invitee) => judge(inviter, invitee) !== 'allow',
    },
  };
}

/** Users go before servers, and who is allowed before who is not. What no rule names is allowed. */
function judgeByRules(rules: JsonObject, inviter: UserId): Verdict {
  if (rules['enabled'] === false) return 'allow';
  const server = serverNameOf(inviter);
  const names = { users: [inviter], servers: [server, server.replace(/:\d+$/, '')] };
  for (const kind of ['users', 'servers'] as const) {
    if (isListed(rules[`allowed_${kind}`], names[kind])) return 'allow';
    if (isListed(rules[`ignored_${kind}`], names[kind])) return 'ignore';
    if (isListed(rules[`blocked_${kind}`], names[kind])) return 'block';
  }
  return 'allow';
}

/** Whether a glob of the list, in which `*` is any text and `?` any character, is the whole of one of the names. */
function isListed(globs: unknown, names: readonly string[]): boolean {
  if (!Array.isArray(globs)) return false;
  const folded = names.map(foldCase);
  return globs
    .filter((glob) => typeof glob === 'string')
    .map(compileGlob)
    .some((glob) => folded.some((name) => glob.matchesWhole(name)));
}
