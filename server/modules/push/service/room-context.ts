import { type EventId, isEventId, type RoomId, type UserId } from '../../../matrix/identifiers.ts';
import { isJsonObject } from '../../../matrix/json.ts';
import { readLevel, readPowerLevels } from '../../../matrix/power-levels.ts';
import type { PushContext } from '../../../matrix/push-rules/conditions.ts';
import type { MembershipReader, PersistedEvent, StateReader } from '../../../rooms/types.ts';

export interface RoomContextNeeds {
  readonly state: Pick<StateReader, 'findCurrent'>;
  readonly members: Pick<MembershipReader, 'findMember' | 'countMembers'>;
  /** Whether users follow threads (MSC4306); undefined where threads are not followed one by one. */
  readonly followed?: { isSubscribed(userId: UserId, roomId: RoomId, rootId: EventId): boolean } | undefined;
  /** The thread an event is in: `main`, or the ID of its root. */
  readonly threads?: { threadOfEvent(event: PersistedEvent): string };
}

/**
 * What the rules of one user after the other may ask about an event besides the event itself. Most rules ask nothing of
 * it, so each answer is looked up when it is first asked for.
 */
export class RoomContext implements PushContext {
  /** Whose rules are asking. */
  userId: UserId;
  readonly #needs: RoomContextNeeds;
  readonly #event: PersistedEvent;
  #memberCount: number | undefined;
  #threadId: string | undefined;
  #senderPowerLevel: number | undefined;
  #notificationPowerLevels: Readonly<Record<string, number>> | undefined;

  constructor(needs: RoomContextNeeds, event: PersistedEvent) {
    this.#needs = needs;
    this.#event = event;
    this.userId = event.sender;
  }

  get displayName(): string | undefined {
    return this.#needs.members.findMember(this.#event.roomId, this.userId)?.displayName;
  }

  get memberCount(): number {
    this.#memberCount ??= this.#needs.members.countMembers(this.#event.roomId, 'join');
    return this.#memberCount;
  }

  get senderPowerLevel(): number {
    this.#senderPowerLevel ??= readPowerLevels(this.#findState('m.room.create'), this.#findPowerLevels()).powerLevelOf(
      this.#event.sender,
    );
    return this.#senderPowerLevel;
  }

  get notificationPowerLevels(): Readonly<Record<string, number>> {
    this.#notificationPowerLevels ??= readNotificationLevels(this.#findPowerLevels());
    return this.#notificationPowerLevels;
  }

  get threadSubscription(): boolean | undefined {
    const { followed, threads } = this.#needs;
    if (followed === undefined) return undefined;
    this.#threadId ??= threads?.threadOfEvent(this.#event) ?? 'main';
    return isEventId(this.#threadId)
      ? followed.isSubscribed(this.userId, this.#event.roomId, this.#threadId)
      : undefined;
  }

  #findPowerLevels(): PersistedEvent | undefined {
    return this.#findState('m.room.power_levels');
  }

  #findState(type: string): PersistedEvent | undefined {
    return this.#needs.state.findCurrent(this.#event.roomId, type, '');
  }
}

function readNotificationLevels(powerLevels: PersistedEvent | undefined): Readonly<Record<string, number>> {
  const notifications = powerLevels?.content['notifications'];
  if (powerLevels === undefined || !isJsonObject(notifications)) return {};
  const levels: [string, number][] = [];
  for (const [key, value] of Object.entries(notifications)) {
    const level = readLevel(value, powerLevels.version);
    if (level !== undefined) levels.push([key, level]);
  }
  return Object.fromEntries(levels);
}
