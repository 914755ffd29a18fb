import type { Static } from 'typebox';
import { nonEmptyText } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import { MAX_NAME_BYTES } from '../service/content-headers.ts';

/** How long a request waits for an upload that was announced, where it does not say, and at most, ms. */
const DEFAULT_WAIT_MS = 20_000;
const LONGEST_WAIT_MS = 60_000;

const timeout = Type.Optional(Type.Integer({ minimum: 0 }));
const side = Type.Integer({ minimum: 1 });

// What they say is checked where they are used: nothing that is no address can be found.
export const mediaParams = Type.Object({ serverName: Type.String(), mediaId: Type.String() });
export const namedMediaParams = Type.Object({
  serverName: Type.String(),
  mediaId: Type.String(),
  fileName: nonEmptyText(MAX_NAME_BYTES),
});
export const ownMediaParams = Type.Object({ mediaId: Type.String() });

export const downloadQuery = Type.Object({ timeout_ms: timeout });
/** `allow_redirect` is understood, but nobody is redirected. */
export const oldDownloadQuery = Type.Object({
  timeout_ms: timeout,
  allow_remote: Type.Optional(Type.Boolean()),
  allow_redirect: Type.Optional(Type.Boolean()),
});

const thumbnail = {
  width: side,
  height: side,
  method: Type.Optional(Type.Union([Type.Literal('crop'), Type.Literal('scale')])),
  animated: Type.Optional(Type.Boolean()),
};
export const thumbnailQuery = Type.Object({ ...thumbnail, timeout_ms: timeout });
export const oldThumbnailQuery = Type.Object({
  ...thumbnail,
  timeout_ms: timeout,
  allow_remote: Type.Optional(Type.Boolean()),
  allow_redirect: Type.Optional(Type.Boolean()),
});

/** How long to wait, ms. */
export function waitOf({ timeout_ms: wanted = DEFAULT_WAIT_MS }: Static<typeof downloadQuery>): number {
  return Math.min(wanted, LONGEST_WAIT_MS);
}

/** The thumbnail a query asks for. */
export function wishOf({ width, height, method = 'scale', animated = false }: Static<typeof thumbnailQuery>): {
  readonly width: number;
  readonly height: number;
  readonly method: 'crop' | 'scale';
  readonly animated: boolean;
} {
  return { width, height, method, animated };
}
