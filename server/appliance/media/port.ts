import type { MediaAddress, MediaItem, MediaSummary } from '../contract.ts';

export interface MediaFigures extends Omit<MediaSummary, 'freeBytes'> {
  /** Where they are kept. */
  readonly directory: string;
}

export interface MediaRemoval {
  readonly removed: number;
  /** That are free on the disk for it. */
  readonly bytes: number;
}

/** The media kept here. */
export interface MediaPort {
  list(listing: {
    readonly origin: 'local' | 'remote' | undefined;
    readonly order: 'size' | 'age' | 'access';
    readonly offset: number;
    readonly limit: number;
  }): Promise<MediaItem[]>;
  figures(): MediaFigures;
  /** What is not known is passed over. */
  remove(media: readonly MediaAddress[]): Promise<MediaRemoval>;
  /** Of other servers, what nobody has looked at since `beforeMs`. */
  removeUnusedRemote(
    beforeMs: number,
    options: { readonly signal: AbortSignal; readonly onProgress: (soFar: MediaRemoval) => void },
  ): Promise<MediaRemoval>;
}
