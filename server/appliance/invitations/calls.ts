import { Type } from '../../http/type.ts';
import type { Announcer } from '../announcer.ts';
import type { Invitation } from '../contract.ts';
import { call, type ControlCall } from '../control/call.ts';
import type { Homeserver } from '../homeserver.ts';
import type { InvitationToken } from './port.ts';

/** Most accounts that one invitation is good for. */
const MOST_USES = 1000;

/** Links by which people make an account on this server. */
export function invitationCalls({
  homeserver,
  announcer,
}: {
  homeserver: () => Pick<Homeserver, 'clientUrl'> & { readonly ports: Pick<Homeserver['ports'], 'invitations'> };
  announcer: Pick<Announcer, 'moved'>;
}): ControlCall[] {
  function show(invitation: InvitationToken): Invitation {
    const { token, note, usesAllowed, used, expiresMs, createdMs } = invitation;
    const { clientUrl, ports } = homeserver();
    return {
      token,
      ...(note === undefined ? {} : { note }),
      link: `${clientUrl}${ports.invitations.pathOf(token)}`,
      ...(usesAllowed === undefined ? {} : { usesLeft: Math.max(0, usesAllowed - used) }),
      used,
      ...(expiresMs === undefined ? {} : { expiresAt: expiresMs }),
      createdAt: createdMs,
    };
  }
  const port = () => homeserver().ports.invitations;
  return [
    call('GET /invitations', {
      handle: () => {
        const newestFirst = port()
          .list()
          .toSorted((a, b) => b.createdMs - a.createdMs);
        return { invitations: newestFirst.map(show) };
      },
    }),
    call('POST /invitations', {
      body: Type.Object({
        note: Type.Optional(Type.String({ maxLength: 200 })),
        uses: Type.Optional(Type.Integer({ minimum: 1, maximum: MOST_USES })),
        expiresAt: Type.Optional(Type.Integer({ minimum: 0 })),
      }),
      handle: async ({ body: { note, uses = 1, expiresAt } }) => {
        const made = await port().create({ note: note?.trim() || undefined, uses, expiresMs: expiresAt });
        announcer.moved('people');
        return show(made);
      },
    }),
    call('DELETE /invitations/{token}', {
      handle: async ({ params: { token } }) => {
        await port().remove(token);
        announcer.moved('people');
        return {};
      },
    }),
  ];
}
