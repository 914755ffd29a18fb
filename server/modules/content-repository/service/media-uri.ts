import { notFound } from '../../../matrix/errors.ts';
import { isServerName, type ServerName } from '../../../matrix/identifiers.ts';

/** What an `mxc://` URI names. */
export interface MediaAddress {
  readonly origin: ServerName;
  readonly mediaId: string;
}

// Spec: "Content repository", "Matrix Content (mxc://) URIs". Nothing else ever becomes part of a request or a look-up.
const MEDIA_ID = /^[0-9A-Za-z_-]{1,255}$/;

/** Checks what a path says. Throws M_NOT_FOUND for what cannot be anywhere. */
export function readAddress(origin: string, mediaId: string): MediaAddress {
  if (!isServerName(origin) || !MEDIA_ID.test(mediaId)) throw notFound('There can be no such media');
  return { origin, mediaId };
}

/** Reads an `mxc://` URI; undefined where it is none. */
export function parseMediaUri(uri: string): MediaAddress | undefined {
  const match = /^mxc:\/\/([^/]+)\/([^/?#]+)$/.exec(uri);
  const [, origin = '', mediaId = ''] = match ?? [];
  return isServerName(origin) && MEDIA_ID.test(mediaId) ? { origin, mediaId } : undefined;
}

export function mediaUri({ origin, mediaId }: MediaAddress): string {
  return `mxc://${origin}/${mediaId}`;
}
