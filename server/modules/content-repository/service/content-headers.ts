/** The headers Content-Type and Content-Disposition, as they come with media and as media are served. */

/** Longest file name that is kept, bytes of UTF-8. */
export const MAX_NAME_BYTES = 1024;
const MAX_TYPE_LENGTH = 255;
const ANY_TYPE = 'application/octet-stream';

// type "/" subtype and parameters, in printable ASCII: anything else could not be sent on.
const TYPE = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+(?:[ \t]*;[\x20-\x7e]*)?$/;

// Spec: "Serving inline content".
const SAFE_INLINE = new Set([
  'text/css',
  'text/plain',
  'text/csv',
  'application/json',
  'application/ld+json',
  'image/jpeg',
  'image/gif',
  'image/png',
  'image/apng',
  'image/webp',
  'image/avif',
  'video/mp4',
  'video/webm',
  'video/ogg',
  'video/quicktime',
  'audio/mp4',
  'audio/webm',
  'audio/aac',
  'audio/mpeg',
  'audio/ogg',
  'audio/wave',
  'audio/wav',
  'audio/x-wav',
  'audio/x-pn-wav',
  'audio/flac',
  'audio/x-flac',
]);

/** The Content-Type to remember; what is none, or lacking, becomes that of mere bytes. */
export function readContentType(header: string | undefined): string {
  const type = header?.trim() ?? '';
  return type.length <= MAX_TYPE_LENGTH && TYPE.test(type) ? type : ANY_TYPE;
}

/** The Content-Type media are served with: the uploader's, never a guess. Text gets a charset where it says none. */
export function servedType(type: string): string {
  return /^text\//i.test(type) && !/;\s*charset\s*=/i.test(type) ? `${type}; charset=utf-8` : type;
}

/** Whether browsers may show it in place (spec: "Serving inline content"). */
function isSafeInline(type: string): boolean {
  return SAFE_INLINE.has((type.split(';', 1)[0] ?? '').trim().toLowerCase());
}

/** A Content-Disposition for media of this type and name (RFC 6266). */
export function disposition(type: string, name: string | undefined): string {
  const kind = isSafeInline(type) ? 'inline' : 'attachment';
  return name === undefined || name === '' ? kind : `${kind}; ${filenameParameter(name)}`;
}

function filenameParameter(name: string): string {
  if (/^[\w!#$&+.^`|~-]+$/.test(name)) return `filename=${name}`;
  if (/^[\x20-\x7e]*$/.test(name)) return `filename="${name.replaceAll(/["\\]/g, '\\$&')}"`;
  // Lone surrogates have no UTF-8.
  const escaped = encodeURIComponent(name.toWellFormed()).replaceAll(
    /['()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `filename*=utf-8''${escaped}`;
}

/** The file name in a Content-Disposition of another server; undefined where there is none that could be kept. */
export function readFileName(header: string | undefined): string | undefined {
  if (header === undefined || header.length > 8 * MAX_NAME_BYTES) return undefined;
  const name = (extendedName(header) ?? plainName(header))?.replaceAll(/\p{Cc}/gu, '');
  return name === undefined || name === '' || Buffer.byteLength(name) > MAX_NAME_BYTES ? undefined : name;
}

function extendedName(header: string): string | undefined {
  const match = /;\s*filename\*\s*=\s*utf-8'[^']*'([^;\s]*)/i.exec(header);
  if (match?.[1] === undefined) return undefined;
  try {
    return decodeURIComponent(match[1]);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

function plainName(header: string): string | undefined {
  const match = /;\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]+))/i.exec(header);
  return match?.[1]?.replaceAll(/\\(.)/g, '$1') ?? match?.[2];
}
