import type { InvitationsPort, InvitationToken } from '../appliance/invitations/port.ts';
import type { Composition } from '../compose.ts';
import type { Database } from '../storage/types.ts';

/** Long enough that nobody finds one by trying. */
const TOKEN_LENGTH = 24;

export function invitationsPort({
  accounts: { registrationTokens, joinPath },
  db,
}: Pick<Composition, 'accounts'> & { readonly db: Pick<Database, 'committed'> }): InvitationsPort {
  return {
    list: () => registrationTokens.list().map(toInvitation),
    create: async ({ note, uses, expiresMs }) => {
      const made = registrationTokens.create({ length: TOKEN_LENGTH, usesAllowed: uses, expiresMs, note });
      await db.committed();
      return toInvitation(made);
    },
    remove: async (token) => {
      registrationTokens.remove(token);
      await db.committed();
    },
    pathOf: joinPath,
  };
}

type Token = ReturnType<Composition['accounts']['registrationTokens']['create']>;

function toInvitation({ token, note, usesAllowed, completed, expiresMs, createdMs }: Token): InvitationToken {
  return { token, note, usesAllowed, used: completed, expiresMs, createdMs };
}
