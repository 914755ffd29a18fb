import { forbidden, MatrixError } from '../../../matrix/errors.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { WriteTx } from '../../../storage/types.ts';
import type { Binding, Medium, Threepid, ThreepidStore } from '../store.ts';
import { canonicalAddress, checkAllowed } from './addresses.ts';
import { checkIdServer, type IdentityServers } from './identity-servers.ts';
import type { ThirdPartyIdsNeeds } from './needs.ts';
import type { ValidatedThreepid, ValidationSessions } from './sessions.ts';

export type UnbindResult = 'success' | 'no-support';

/** The addresses of accounts here, and what identity servers know of them. */
export interface AccountThreepids {
  list(userId: UserId): readonly Threepid[];
  /** Throws M_FORBIDDEN where users may not change their addresses. */
  checkChangesAllowed(): void;
  /** Adds what a session has proved. Throws M_THREEPID_AUTH_FAILED, M_THREEPID_IN_USE, M_THREEPID_DENIED. */
  addValidated(userId: UserId, sid: string, clientSecret: string): Promise<void>;
  /** Within the write that makes an account. Throws M_THREEPID_IN_USE. */
  add(tx: WriteTx, userId: UserId, threepid: ValidatedThreepid, options: { readonly registering: boolean }): void;
  /** Takes an address away, and has it unbound. */
  remove(userId: UserId, medium: string, address: string, idServer: string | undefined): Promise<UnbindResult>;
  bind(
    userId: UserId,
    request: { idServer: string; idAccessToken: string; sid: string; clientSecret: string },
  ): Promise<void>;
  /** Has an address unbound where it was bound from here, or at `idServer`. */
  unbind(userId: UserId, medium: string, address: string, idServer: string | undefined): Promise<UnbindResult>;
  /** Has all of a user's addresses unbound; true if nothing is left. What cannot be done now stays noted. */
  unbindAll(userId: UserId, idServer: string | undefined): Promise<boolean>;
  /** Takes all addresses of a user away. */
  removeAll(tx: WriteTx, userId: UserId): void;
  /** For administrators: sets the addresses of an account, without proof. Throws M_THREEPID_IN_USE. */
  replaceAll(
    tx: WriteTx,
    userId: UserId,
    threepids: readonly { readonly medium: Medium; readonly address: string }[],
  ): void;
}

export function createAccountThreepids(
  needs: ThirdPartyIdsNeeds,
  store: ThreepidStore,
  sessions: ValidationSessions,
  identityServers: IdentityServers,
): AccountThreepids {
  const { db, clock, log, settings, hooks } = needs;

  function insert(
    tx: WriteTx,
    userId: UserId,
    { medium, address, validatedMs }: { medium: Medium; address: string; validatedMs: number },
    registering: boolean,
  ): void {
    const owner = store.findOwner(medium, address);
    if (owner !== undefined && owner !== userId) {
      throw new MatrixError('M_THREEPID_IN_USE', 'An account here has that address already', { status: 400 });
    }
    store.add(tx, userId, { medium, address, validatedMs, addedMs: clock.now() });
    if (owner === undefined) for (const hook of hooks.onAdded) hook(tx, userId, { medium, address, registering });
  }

  function removeOne(tx: WriteTx, userId: UserId, medium: string, address: string): void {
    if (!store.remove(tx, userId, medium, address)) return;
    for (const hook of hooks.onRemoved) hook(tx, userId, { medium, address });
  }

  async function unbindAt(userId: UserId, binding: Binding): Promise<boolean> {
    const done = await identityServers.unbind(binding.idServer, userId, binding);
    if (done) db.write((tx) => store.unbind(tx, userId, binding));
    return done;
  }

  async function unbind(
    userId: UserId,
    medium: string,
    address: string,
    idServer: string | undefined,
  ): Promise<UnbindResult> {
    const places =
      idServer === undefined
        ? store.bindings(userId).filter((known) => known.medium === medium && known.address === address)
        : [{ medium, address, idServer: checkIdServer(idServer) }];
    if (places.length === 0) return 'no-support';
    let all = true;
    for (const place of places) all = (await unbindAt(userId, place)) && all;
    return all ? 'success' : 'no-support';
  }

  return {
    list: (userId) => store.list(userId),

    checkChangesAllowed: () => {
      if (!settings.changesAllowed) throw forbidden('Addresses cannot be changed on this server');
    },

    addValidated: async (userId, sid, clientSecret) => {
      const found = await sessions.findValidated('add', undefined, sid, clientSecret);
      if (found === undefined) {
        throw new MatrixError('M_THREEPID_AUTH_FAILED', 'This session has not proved an address', { status: 400 });
      }
      checkAllowed(settings, found.medium, found.address);
      db.write((tx) => {
        insert(tx, userId, found, false);
        sessions.spend(tx, sid);
      });
    },

    add: (tx, userId, found, { registering }) => {
      insert(tx, userId, found, registering);
      sessions.spend(tx, found.sid);
    },

    remove: async (userId, medium, given, idServer) => {
      const address = canonicalAddress(medium, given);
      const result = await unbind(userId, medium, address, idServer);
      db.write((tx) => removeOne(tx, userId, medium, address));
      return result;
    },

    bind: async (userId, { idServer, idAccessToken, sid, clientSecret }) => {
      const { medium, address } = await identityServers.bind(idServer, idAccessToken, { sid, clientSecret, userId });
      db.write((tx) => store.bind(tx, userId, { medium, address, idServer: checkIdServer(idServer) }));
    },

    unbind: (userId, medium, address, idServer) => unbind(userId, medium, canonicalAddress(medium, address), idServer),

    unbindAll: async (userId, idServer) => {
      const known = store.bindings(userId);
      const named =
        idServer === undefined
          ? []
          : store.list(userId).map(({ medium, address }) => ({ medium, address, idServer: checkIdServer(idServer) }));
      let all = true;
      for (const binding of [...known, ...named]) {
        try {
          all = (await unbindAt(userId, binding)) && all;
        } catch (error) {
          if (!(error instanceof MatrixError)) throw error;
          log.info({ userId, idServer: binding.idServer, reason: error.message }, 'an address could not be unbound');
          all = false;
        }
      }
      return all;
    },

    removeAll: (tx, userId) => {
      for (const { medium, address } of store.removeOfUser(tx, userId)) {
        for (const hook of hooks.onRemoved) hook(tx, userId, { medium, address });
      }
    },

    replaceAll: (tx, userId, threepids) => {
      const wanted = threepids.map(({ medium, address }) => ({ medium, address: canonicalAddress(medium, address) }));
      for (const { medium, address } of store.list(userId)) {
        const stays = wanted.some((one) => one.medium === medium && one.address === address);
        if (!stays) removeOne(tx, userId, medium, address);
      }
      for (const one of wanted) insert(tx, userId, { ...one, validatedMs: clock.now() }, false);
    },
  };
}
