import { fileTypeFromFile } from 'file-type';
import sharp, { type Sharp } from 'sharp';
import type { Measured, MeasureOrder, RefusalReason, Refused, ThumbnailAnswer, ThumbnailOrder } from './protocol.ts';

/** A picture that cannot be drawn. */
class Refusal extends Error {
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason) {
    super(reason);
    this.reason = reason;
  }
}

/** Drawing one picture for longer than this, seconds, is given up; where that does not help, the process is killed. */
const DRAW_SECONDS = 15;

// By what a file's bytes say it is. Vector graphics and documents are never drawn: their readers are programs of their own.
const READABLE = new Set(['image/jpeg', 'image/png', 'image/apng', 'image/webp', 'image/gif', 'image/avif']);
/** What clients may be given as a thumbnail (spec: GET /media/thumbnail). */
const GIVABLE = new Set(['image/jpeg', 'image/png', 'image/apng', 'image/webp', 'image/gif']);
const LOADERS = ['Jpeg', 'Png', 'Webp', 'Nsgif', 'Heif'];

/** Sets the library up for drawing strangers' pictures one after the other. */
export function prepareToDraw(): void {
  sharp.cache(false);
  sharp.concurrency(1);
  sharp.block({ operation: ['VipsForeignLoad'] });
  sharp.unblock({ operation: LOADERS.map((name) => `VipsForeignLoad${name}File`) });
}

interface Picture {
  /** As it is to be seen: after turning it as its EXIF data say. */
  readonly width: number;
  readonly height: number;
  readonly frames: number;
  readonly hasAlpha: boolean;
  /** Need not be turned, which cannot be done to an animation. */
  readonly isUpright: boolean;
}

/** Draws a thumbnail. Whatever is wrong with the picture is an answer. */
export async function draw(order: ThumbnailOrder): Promise<ThumbnailAnswer> {
  return drawPicture(order).catch(refusalOf);
}

/** Tells what a picture is. Whatever is wrong with it is an answer. */
export async function measure(order: MeasureOrder): Promise<Measured | Refused> {
  return measurePicture(order).catch(refusalOf);
}

async function measurePicture(order: MeasureOrder): Promise<Measured> {
  const type = await readableType(order.source);
  const { width, height } = await look(order);
  return { kind: 'measured', type, width, height };
}

async function drawPicture(order: ThumbnailOrder): Promise<ThumbnailAnswer> {
  const type = await readableType(order.source);
  const picture = await look(order);
  // An animation of too many pixels may still be shown standing still.
  const isAnimation = picture.frames > 1 || type === 'image/apng';
  const animates =
    order.animated &&
    picture.frames > 1 &&
    picture.isUpright &&
    picture.width * picture.height * picture.frames <= order.maxPixels;
  const { width, height } = fit(picture, order);
  const isWhole = width === picture.width && height === picture.height;
  // `animated=false` must not bring an animation, however small it is.
  if (isWhole && GIVABLE.has(type) && (order.animated || !isAnimation)) return { kind: 'original', type };

  const image = load(order, animates);
  const resized = (animates ? image : image.autoOrient()).resize(width, height, {
    fit: order.method === 'crop' ? 'cover' : 'fill',
  });
  const output =
    animates || type === 'image/webp' || (type === 'image/avif' && picture.hasAlpha) ? 'webp' : stillFormat(type);
  const encoded = encode(resized, output);
  await encoded.timeout({ seconds: DRAW_SECONDS }).toFile(order.target);
  return { kind: 'made', type: `image/${output}` };
}

async function readableType(source: string): Promise<string> {
  const type = (await fileTypeFromFile(source))?.mime;
  if (type === undefined || !READABLE.has(type)) throw new Refusal('unsupported');
  return type;
}

function load({ source, maxPixels }: Pick<ThumbnailOrder, 'source' | 'maxPixels'>, animated: boolean): Sharp {
  return sharp(source, { limitInputPixels: maxPixels, failOn: 'error', animated, sequentialRead: true });
}

async function look(order: Pick<ThumbnailOrder, 'source' | 'maxPixels'>): Promise<Picture> {
  const { autoOrient, orientation = 1, pages = 1, hasAlpha } = await load(order, false).metadata();
  const { width, height } = autoOrient;
  if (width * height > order.maxPixels) throw new Refusal('too-large');
  return { width, height, frames: pages, hasAlpha, isUpright: orientation === 1 };
}

/**
 * The size of the thumbnail: inside the frame for `scale`, filling it for `crop`, and never larger than the picture.
 */
function fit(picture: Picture, { width, height, method }: ThumbnailOrder): { width: number; height: number } {
  if (method === 'crop') return { width: Math.min(width, picture.width), height: Math.min(height, picture.height) };
  const ratio = Math.min(1, width / picture.width, height / picture.height);
  return {
    width: Math.max(1, Math.round(picture.width * ratio)),
    height: Math.max(1, Math.round(picture.height * ratio)),
  };
}

function stillFormat(type: string): 'jpeg' | 'png' {
  return type === 'image/jpeg' || type === 'image/avif' ? 'jpeg' : 'png';
}

function encode(image: Sharp, format: 'jpeg' | 'png' | 'webp'): Sharp {
  switch (format) {
    case 'jpeg':
      return image.jpeg({ quality: 80 });
    case 'png':
      return image.png();
    case 'webp':
      return image.webp({ quality: 80 });
  }
}

function refusalOf(error: unknown): Refused {
  return { kind: 'refused', reason: error instanceof Refusal ? error.reason : reasonOf(error) };
}

function reasonOf(error: unknown): RefusalReason {
  const message = error instanceof Error ? error.message : '';
  if (message.includes('exceeds pixel limit')) return 'too-large';
  return message.includes('unsupported image format') ? 'unsupported' : 'failed';
}
