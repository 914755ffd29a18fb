import type { IconName } from '../components/icon-drawings.ts';
import type { PlainKey } from '../strings/text.ts';

export interface PageEntry {
  /** What stands in the address: `#/people`; a page may have more after it (`#/people/@nora:example.com`). */
  readonly id: string;
  readonly title: PlainKey;
  readonly icon: IconName;
  readonly group: PlainKey;
}

/** The pages within the frame, in the order of the navigation. The first four are at hand on a phone. */
export const pages = [
  { id: 'status', title: 'page.status', icon: 'pulse', group: 'group.server' },
  { id: 'people', title: 'page.people', icon: 'people', group: 'group.people' },
  { id: 'rooms', title: 'page.rooms', icon: 'rooms', group: 'group.people' },
  { id: 'backups', title: 'page.backups', icon: 'archive', group: 'group.care' },
  { id: 'media', title: 'page.media', icon: 'image', group: 'group.people' },
  { id: 'registration', title: 'page.registration', icon: 'ticket', group: 'group.people' },
  { id: 'reach', title: 'page.reach', icon: 'globe', group: 'group.way' },
  { id: 'calls', title: 'page.calls', icon: 'phone', group: 'group.way' },
  { id: 'settings', title: 'page.settings', icon: 'sliders', group: 'group.care' },
  { id: 'logs', title: 'page.logs', icon: 'lines', group: 'group.care' },
  { id: 'about', title: 'page.about', icon: 'info', group: 'group.care' },
] as const satisfies readonly PageEntry[];

export type PageId = (typeof pages)[number]['id'];

/** Where the server says something is to be seen, under the names it uses. */
const ALIASES: Readonly<Record<string, string>> = {
  delegation: 'reach',
  doctor: 'reach',
  federation: 'status',
  problems: 'status',
  invitations: 'people',
  strangers: 'people',
};

/** The page that the server or an address means by a name, if there is one. */
export function findPage(name: string | undefined): (typeof pages)[number] | undefined {
  const id = name?.replace(/^[#/]+/, '').split('/')[0] ?? '';
  return pages.find((page) => page.id === (ALIASES[id] ?? id));
}
