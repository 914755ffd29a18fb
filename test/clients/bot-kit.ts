import './quiet-bot-sdk.ts';
import { LogService } from 'matrix-bot-sdk';
import sharp from 'sharp';
import type { Json, TestClient } from '../kit/test-client.ts';

const nothing = (): void => undefined;
LogService.setLogger({ trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing });

/** Syncs until there is an event in some room that is looked for; gives that. */
export async function untilEvent(person: TestClient, isIt: (event: Json) => boolean): Promise<Json> {
  const signal = AbortSignal.timeout(30_000);
  for (let since: string | undefined; ; ) {
    const answer: Json = await person.sync({
      timeout: 20_000,
      signal,
      ...(since === undefined ? {} : { since }),
      filter: { room: { timeline: { limit: 100 } } },
    });
    since = answer.next_batch;
    const rooms: Json[] = Object.values(answer.rooms?.join ?? {});
    const found = rooms.flatMap(({ timeline }) => timeline.events).find(isIt);
    if (found !== undefined) return found;
  }
}

/** Whether an event says that. */
export const saying =
  (body: string) =>
  (event: Json): boolean =>
    event.content.body === body;

/** Events of a client or a service, each of them given to whoever waits for one like it, before or after it came. */
export class Heard {
  readonly #events: Json[] = [];
  #waiting: { readonly isIt: (event: Json) => boolean; readonly resolve: (event: Json) => void }[] = [];

  readonly take = (event: Json): void => {
    this.#events.push(event);
    const woken = this.#waiting.filter(({ isIt }) => isIt(event));
    this.#waiting = this.#waiting.filter((waiting) => !woken.includes(waiting));
    for (const { resolve } of woken) resolve(event);
  };

  get all(): readonly Json[] {
    return this.#events;
  }

  until(isIt: (event: Json) => boolean): Promise<Json> {
    const known = this.#events.find(isIt);
    return known === undefined
      ? new Promise((resolve) => this.#waiting.push({ isIt, resolve }))
      : Promise.resolve(known);
  }
}

/** A small PNG. */
export function picture(): Promise<Buffer> {
  return sharp({ create: { width: 64, height: 64, channels: 3, background: 'olive' } })
    .png()
    .toBuffer();
}
