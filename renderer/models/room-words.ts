import type { RoomSummary } from '../../server/appliance/contract.ts';

const LONGEST_TO_TYPE = 32;

/** What has to be typed before a room is removed: its name, or `otherwise` where that is hard to type. */
export function wordToType({ name }: Pick<RoomSummary, 'name'>, otherwise: string): string {
  const word = name.trim();
  const isEasy = word.length > 0 && word.length <= LONGEST_TO_TYPE && /^[\p{L}\p{N} .,'_-]+$/u.test(word);
  return isEasy && !/\s\s/.test(word) ? word : otherwise;
}
