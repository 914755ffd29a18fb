/**
 * Makes the icons of the program out of their drawings in assets/icons: PNG for the windows and the tray, and the containers
 * that the packages want (.ico, .icns). Usage: node build/icons.ts
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';

const root = join(import.meta.dirname, '..');
export const ICONS = join(root, 'build', 'icons');

const TRAY_STATES = ['online', 'busy', 'paused', 'attention'];
/** Pixels; the second is for screens of twice the density. */
const TRAY_SIZES = [
  { size: 22, suffix: '' },
  { size: 44, suffix: '@2x' },
];
const LINUX_SIZES = [16, 24, 32, 48, 64, 96, 128, 256, 512, 1024];
/** Of the bar of Windows, from its smallest scale to twice and a half of it. */
const BAR_SIZES = [16, 20, 24, 32, 40];
const ICO_SIZES = [16, 24, 32, 48, 64, 128, 256];
/** Types of an .icns by the size of their PNG. */
const ICNS_TYPES = [
  ['icp4', 16],
  ['icp5', 32],
  ['ic11', 32],
  ['ic12', 64],
  ['ic07', 128],
  ['ic13', 256],
  ['ic08', 256],
  ['ic14', 512],
  ['ic09', 512],
  ['ic10', 1024],
] as const;

/** Makes them all in `build/icons`. */
export async function makeIcons(): Promise<void> {
  await mkdir(join(ICONS, 'linux'), { recursive: true });
  const drawing = await readFile(join(root, 'assets', 'icons', 'hearth.svg'));
  const sizes = new Set([...LINUX_SIZES, ...ICO_SIZES, ...ICNS_TYPES.map(([, size]) => size)]);
  const pngs = new Map<number, Buffer>();
  for (const size of sizes) pngs.set(size, await paint(drawing, size));
  for (const size of LINUX_SIZES) {
    await writeFile(join(ICONS, 'linux', `${size}x${size}.png`), pngOf(pngs, size));
  }
  await writeFile(join(ICONS, 'hearth-256.png'), pngOf(pngs, 256));
  await writeFile(join(ICONS, 'icon.ico'), ico(ICO_SIZES.map((size) => ({ size, png: pngOf(pngs, size) }))));
  await writeFile(join(ICONS, 'icon.icns'), icns(ICNS_TYPES.map(([type, size]) => ({ type, png: pngOf(pngs, size) }))));
  for (const state of TRAY_STATES) {
    const glyph = await readFile(join(root, 'assets', 'icons', `tray-${state}.svg`), 'utf8');
    for (const { size, suffix } of TRAY_SIZES) {
      const black = await paint(Buffer.from(glyph), size);
      const white = await paint(Buffer.from(glyph.replaceAll('#000', '#fff')), size);
      await writeFile(join(ICONS, `tray-${state}Template${suffix}.png`), black);
      await writeFile(join(ICONS, `tray-${state}-dark${suffix}.png`), black);
      await writeFile(join(ICONS, `tray-${state}-light${suffix}.png`), white);
    }
    // Windows leaves an icon no margin of its own.
    const tight = glyph.replace('viewBox="0 0 24 24"', 'viewBox="2 2 20 20"');
    for (const [variant, drawing] of [
      ['dark', tight],
      ['light', tight.replaceAll('#000', '#fff')],
    ] as const) {
      const pictures: { size: number; png: Buffer }[] = [];
      for (const size of BAR_SIZES) pictures.push({ size, png: await paint(Buffer.from(drawing), size) });
      await writeFile(join(ICONS, `tray-${state}-${variant}.ico`), ico(pictures));
    }
  }
}

function pngOf(pngs: ReadonlyMap<number, Buffer>, size: number): Buffer {
  const png = pngs.get(size);
  if (png === undefined) throw new Error(`no picture of ${size} pixels was painted`);
  return png;
}

/** Painted at its size rather than made smaller, so that lines stay sharp. */
async function paint(svg: Buffer, size: number): Promise<Buffer> {
  const { width } = await sharp(svg).metadata();
  return sharp(svg, { density: (72 * size) / width })
    .resize(size, size)
    .png({ compressionLevel: 9 })
    .toBuffer();
}

/** ICO: a directory of entries of 16 bytes, then the pictures, which may be PNG. */
function ico(pictures: readonly { size: number; png: Buffer }[]): Buffer {
  const header = Buffer.alloc(6 + 16 * pictures.length);
  header.writeUInt16LE(1, 2);
  header.writeUInt16LE(pictures.length, 4);
  let offset = header.length;
  for (const [index, { size, png }] of pictures.entries()) {
    const at = 6 + 16 * index;
    // 256 is written as 0.
    header.writeUInt8(size % 256, at);
    header.writeUInt8(size % 256, at + 1);
    header.writeUInt16LE(1, at + 4);
    header.writeUInt16LE(32, at + 6);
    header.writeUInt32LE(png.length, at + 8);
    header.writeUInt32LE(offset, at + 12);
    offset += png.length;
  }
  return Buffer.concat([header, ...pictures.map(({ png }) => png)]);
}

/** ICNS: a header with the length of the whole, then each picture behind its type and length, all big-endian. */
function icns(pictures: readonly { type: string; png: Buffer }[]): Buffer {
  const parts = pictures.map(({ type, png }) =>
    Buffer.concat([Buffer.from(type, 'ascii'), length(png.length + 8), png]),
  );
  const total = parts.reduce((sum, part) => sum + part.length, 8);
  return Buffer.concat([Buffer.from('icns', 'ascii'), length(total), ...parts]);
}

function length(bytes: number): Buffer {
  const field = Buffer.alloc(4);
  field.writeUInt32BE(bytes);
  return field;
}

if (import.meta.main) await makeIcons();
