import type { Module } from '../../module.ts';
import { previewRoutes } from './routes.ts';
import { createPreviews, type PreviewNeeds, type RoomPreviews } from './service.ts';

export type { PreviewNeeds, RoomPreviews, RoomSummary } from './service.ts';

/** What rooms show of themselves to those outside (spec: "Room Previews", room summary). */
export function roomPreviews(needs: PreviewNeeds): Module & { readonly previews: RoomPreviews } {
  const previews = createPreviews(needs);
  return { name: 'room-previews', previews, routes: previewRoutes(previews) };
}
