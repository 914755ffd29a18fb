import { route, type Route, type Requester } from '../../../http/route.ts';
import { text } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import { MatrixError } from '../../../matrix/errors.ts';
import { MAX_NAME_BYTES, readContentType } from '../service/content-headers.ts';
import { readAddress } from '../service/media-uri.ts';
import type { UploadInfo, Uploads } from '../service/uploads.ts';
import { mediaParams } from './schemas.ts';

const uploadQuery = Type.Object({ filename: Type.Optional(text(MAX_NAME_BYTES)) });

/** How clients bring media, and learn how large these may be. */
export function uploadRoutes({ uploads, maxUploadBytes }: { uploads: Uploads; maxUploadBytes: number }): Route[] {
  return [
    route({
      method: 'POST',
      path: '/_matrix/media/v3/upload',
      auth: 'user',
      query: uploadQuery,
      rawBody: true,
      bodyLimit: maxUploadBytes,
      handle: async ({ requester, bodyStream, headers, query }) => {
        checkMayUpload(requester);
        return { content_uri: await uploads.upload(requester, bodyStream, infoOf(headers, query.filename)) };
      },
    }),
    route({
      method: 'POST',
      path: '/_matrix/media/v1/create',
      auth: 'user',
      handle: ({ requester }) => {
        checkMayUpload(requester);
        const { uri, expiresMs } = uploads.announce(requester);
        return { content_uri: uri, unused_expires_at: expiresMs };
      },
    }),
    route({
      method: 'PUT',
      path: '/_matrix/media/v3/upload/:serverName/:mediaId',
      auth: 'user',
      params: mediaParams,
      query: uploadQuery,
      rawBody: true,
      bodyLimit: maxUploadBytes,
      handle: async ({ requester, params, bodyStream, headers, query }) => {
        checkMayUpload(requester);
        const address = readAddress(params.serverName, params.mediaId);
        await uploads.fill(requester, address, bodyStream, infoOf(headers, query.filename));
        return {};
      },
    }),
    route({
      method: 'GET',
      path: ['/_matrix/client/v1/media/config', '/_matrix/media/v3/config'],
      auth: 'user',
      handle: () => ({ 'm.upload.size': maxUploadBytes }),
    }),
  ];
}

/** Whoever may not send messages has no use for files to send. */
function checkMayUpload({ isSuspended }: Requester): void {
  if (isSuspended) throw new MatrixError('M_USER_SUSPENDED', 'Suspended users cannot upload media');
}

function infoOf(headers: Readonly<Record<string, string | undefined>>, filename: string | undefined): UploadInfo {
  const length = Number(headers['content-length'] ?? Number.NaN);
  return {
    type: readContentType(headers['content-type']),
    name: filename === '' ? undefined : filename,
    declaredBytes: Number.isSafeInteger(length) ? length : undefined,
  };
}
