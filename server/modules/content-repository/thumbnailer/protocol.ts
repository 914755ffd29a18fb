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

/** To be told what a picture is, rather than to have it drawn. */
export interface MeasureOrder extends Pick<ThumbnailOrder, 'source' | 'maxPixels'> {
  readonly kind: 'measure';
}

export type Order = ThumbnailOrder | MeasureOrder;

/** Not a picture that can be drawn; too many pixels; something went wrong with it, or it took too long. */
export type RefusalReason = 'unsupported' | 'too-large' | 'failed';

export type ThumbnailAnswer =
  | { readonly kind: 'made'; readonly type: string }
  /** The picture is no larger than the frame; its type, as its bytes tell it. */
  | { readonly kind: 'original'; readonly type: string }
  | Refused;

export interface Refused {
  readonly kind: 'refused';
  readonly reason: RefusalReason;
}

/** What a picture is: its type as its bytes tell it, its size in pixels as it is to be seen. */
export interface Measured {
  readonly kind: 'measured';
  readonly type: string;
  readonly width: number;
  readonly height: number;
}

export type Answer = ThumbnailAnswer | Measured;

/** Checks what came from the other process. */
export function isAnswer(message: unknown): message is Answer {
  if (typeof message !== 'object' || message === null || !('kind' in message)) return false;
  switch (message.kind) {
    case 'made':
    case 'original':
      return 'type' in message && typeof message.type === 'string' && /^image\/[a-z]+$/.test(message.type);
    case 'measured':
      return (
        ['width', 'height'].every((side) => Number.isInteger(Reflect.get(message, side))) &&
        'type' in message &&
        typeof message.type === 'string'
      );
    case 'refused':
      return 'reason' in message && ['unsupported', 'too-large', 'failed'].includes(String(message.reason));
    default:
      return false;
  }
}
