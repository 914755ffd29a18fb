import type { RateLimit } from '../../http/rate-limit.ts';
import type { Module } from '../../module.ts';
import { previewRoutes } from './routes.ts';
import { createPreviews, type PreviewNeeds, type RoomPreviews } from './service.ts';

export type { OutsideRoom, PreviewNeeds, RoomPreviews, RoomSummary } from './service.ts';

/** What rooms show of themselves to those outside (spec: "Room Previews", room summary). */
export function roomPreviews(
  needs: PreviewNeeds & {
    /** How often somebody may have other servers asked. */
    readonly askingLimit: RateLimit;
  },
): Module & { readonly previews: RoomPreviews } {
  const previews = createPreviews(needs);
  return { name: 'room-previews', previews, routes: previewRoutes(previews, needs.askingLimit) };
}
