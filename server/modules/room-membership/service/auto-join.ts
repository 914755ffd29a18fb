import { MatrixError, notFound } from '../../../matrix/errors.ts';
import {
  isRoomAlias,
  isRoomId,
  localpartOf,
  type RoomId,
  serverNameOf,
  type UserId,
} from '../../../matrix/identifiers.ts';
import type { WriteTx } from '../../../storage/types.ts';
import type { PendingAutoJoin, PendingAutoJoins } from '../store.ts';
import type { Invites } from './invites.ts';
import type { Joins } from './joins.ts';
import type { Actor, AliasTarget, MembershipNeeds } from './needs.ts';
import type { Places } from './places.ts';

/** A new account, as far as automatic joins care. */
export interface NewAccount {
  readonly userId: UserId;
  readonly kind: 'user' | 'guest';
  readonly appserviceId: string | undefined;
  /** Bots and the like; undefined for people. */
  readonly userType: string | undefined;
}

/** Puts new users into the rooms meant for everybody, making those rooms for the first. */
export class AutoJoin {
  readonly #needs: MembershipNeeds;
  readonly #pending: PendingAutoJoins;
  readonly #places: Places;
  readonly #joins: Joins;
  readonly #invites: Invites;
  readonly #actorFor: (userId: UserId) => Actor;
  readonly #failed = new Set<UserId>();
  #running: Promise<void> | undefined;
  #isStopping = false;

  constructor(parts: {
    needs: MembershipNeeds;
    pending: PendingAutoJoins;
    places: Places;
    joins: Joins;
    invites: Invites;
    actorFor: (userId: UserId) => Actor;
  }) {
    this.#needs = parts.needs;
    this.#pending = parts.pending;
    this.#places = parts.places;
    this.#joins = parts.joins;
    this.#invites = parts.invites;
    this.#actorFor = parts.actorFor;
  }

  /** In the transaction that makes the account: the joins follow, even if the server is stopped right after it. */
  onRegistered(tx: WriteTx, { userId, kind, appserviceId, userType }: NewAccount): void {
    const { rooms, guests } = this.#needs.settings.autoJoin;
    if (rooms.length === 0 || appserviceId !== undefined || (kind === 'guest' && !guests)) return;
    this.#pending.put(tx, { userId, mayCreate: kind === 'user' && userType === undefined });
    tx.onCommit(() => {
      this.#failed.delete(userId);
      this.resume();
    });
  }

  /** Goes on with whom a restart, or a failure before it, left behind. */
  resume(): void {
    if (this.#isStopping || this.#running !== undefined) return;
    this.#running = this.#work().finally(() => {
      this.#running = undefined;
      // Somebody may have come after the last look.
      if (!this.#isStopping && this.#next() !== undefined) this.resume();
    });
  }

  /** Resolves when nobody is on the way any more. */
  async settled(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
  }

  /**
   * Joins a user to all rooms meant for everybody. What one room refuses is logged, and the next one tried.
   * @throws what was no refusal but a failure, after the last room
   */
  async #join({ userId, mayCreate }: PendingAutoJoin): Promise<void> {
    const { settings, log } = this.#needs;
    let failure: unknown;
    for (const room of settings.autoJoin.rooms) {
      if (this.#isStopping) return;
      try {
        await this.#joinOne(userId, room, mayCreate);
      } catch (error) {
        log.warn({ userId, room, error }, 'a new user could not be joined to a room');
        if (!(error instanceof MatrixError)) failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
  }

  #next(): PendingAutoJoin | undefined {
    return this.#pending.list().find(({ userId }) => !this.#failed.has(userId));
  }

  // One user after the other: two at once would both find a room missing and make it.
  async #work(): Promise<void> {
    const { db, log } = this.#needs;
    for (;;) {
      const next = this.#next();
      if (next === undefined || this.#isStopping) return;
      try {
        await this.#join(next);
        if (!this.#isStopping) db.write((tx) => this.#pending.remove(tx, next.userId));
      } catch (error) {
        log.error({ userId: next.userId, error }, 'automatic joins failed; the next start tries again');
        this.#failed.add(next.userId);
      }
    }
  }

  async #joinOne(userId: UserId, room: string, mayCreate: boolean): Promise<void> {
    const target = (await this.#find(room)) ?? (await this.#make(userId, room, mayCreate));
    const { roomId, servers } = target;
    const membership = this.#places.find(roomId, userId)?.membership;
    if (membership === 'join') return;
    const { inviter } = this.#needs.settings.autoJoin;
    const isPublic = this.#needs.state.findCurrent(roomId, 'm.room.join_rules', '')?.content['join_rule'] === 'public';
    if (this.#places.isHere(roomId) && !isPublic && membership !== 'invite' && inviter !== undefined) {
      await this.#invites.invite(this.#actorFor(inviter), roomId, userId);
    }
    await this.#joins.join(this.#actorFor(userId), roomId, { via: servers });
  }

  #find(room: string): Promise<AliasTarget | undefined> | AliasTarget | undefined {
    if (isRoomAlias(room)) return this.#needs.aliases.find(room);
    return isRoomId(room) ? { roomId: room, servers: [] } : undefined;
  }

  async #make(userId: UserId, room: string, mayCreate: boolean): Promise<AliasTarget> {
    const { settings, createRoom } = this.#needs;
    const { create, federated, preset, inviter } = settings.autoJoin;
    const isOurs = isRoomAlias(room) && serverNameOf(room) === settings.serverName;
    if (!isOurs || !create || createRoom === undefined || !(mayCreate || inviter !== undefined)) {
      throw notFound(`There is no room ${room}`);
    }
    const creator = inviter ?? userId;
    const roomId: RoomId = await createRoom({
      creator,
      aliasLocalpart: localpartOf(room),
      preset,
      federated,
      invite: creator === userId || preset === 'public_chat' ? [] : [userId],
    });
    return { roomId, servers: [] };
  }
}
