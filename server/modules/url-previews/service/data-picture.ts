import type { Found } from './fetcher.ts';

/** A picture that is part of its own address (RFC 2397); undefined for what is none. */
export function dataPicture(address: string): Pick<Found, 'content' | 'headers' | 'close'> | undefined {
  const match = /^data:image\/[^,;]+((?:;[^,;]*)*),([^]*)$/i.exec(address);
  const [, parameters = '', data = ''] = match ?? [];
  if (match === null) return undefined;
  const bytes = /;\s*base64$/i.test(parameters.trim()) ? Buffer.from(data, 'base64') : unescape(data);
  return { content: once(bytes), headers: {}, close: () => {} };
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer, void, undefined> {
  yield bytes;
}

/** Bytes whose escapes are undone: text in the sense of `decodeURIComponent` they need not be. */
function unescape(data: string): Buffer {
  const binary = data.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(binary, 'latin1');
}
