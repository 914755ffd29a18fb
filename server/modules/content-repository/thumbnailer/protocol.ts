/** What the server and the process that draws thumbnails say to each other. */
import type { ThumbnailMethod } from '../service/needs.ts';

export interface ThumbnailOrder {
  /** Paths of the picture, and of the file to be written. */
  readonly source: string;
  readonly target: string;
  /** The frame, pixels. */
  readonly width: number;
  readonly height: number;
  readonly method: ThumbnailMethod;
  readonly animated: boolean;
  /** Pictures with more pixels are refused before they are decoded. */
  readonly maxPixels: number;
}

/** Not a picture that can be drawn; too many pixels; something went wrong with it, or it took too long. */
export type RefusalReason = 'unsupported' | 'too-large' | 'failed';

export type ThumbnailAnswer =
  | { readonly kind: 'made'; readonly type: string }
  /** The picture is no larger than the frame; its type, as its bytes tell it. */
  | { readonly kind: 'original'; readonly type: string }
  | { readonly kind: 'refused'; readonly reason: RefusalReason };

/** Checks what came from the other process. */
export function isThumbnailAnswer(message: unknown): message is ThumbnailAnswer {
  if (typeof message !== 'object' || message === null || !('kind' in message)) return false;
  switch (message.kind) {
    case 'made':
    case 'original':
      return 'type' in message && typeof message.type === 'string' && /^image\/[a-z]+$/.test(message.type);
    case 'refused':
      return 'reason' in message && ['unsupported', 'too-large', 'failed'].includes(String(message.reason));
    default:
      return false;
  }
}
