import { statfs } from 'node:fs/promises';
import { Type } from '../../http/type.ts';
import type { Clock } from '../../util/clock.ts';
import type { Announcer } from '../announcer.ts';
import { call, type ControlCall } from '../control/call.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { MediaPort } from './port.ts';

const MOST_AT_ONCE = 200;
const USUAL = 50;
/** Pages beyond this are nothing anybody leafs through to, and cost more the farther they are. */
const FARTHEST = 100_000;
const DAY_MS = 24 * 3_600_000;

/** The media kept on this server. */
export function mediaCalls({
  port,
  jobs,
  announcer,
  clock,
}: {
  port: () => MediaPort;
  jobs: Pick<Jobs, 'start'>;
  announcer: Pick<Announcer, 'moved'>;
  clock: Pick<Clock, 'now'>;
}): ControlCall[] {
  function moved(): void {
    announcer.moved('media');
    announcer.moved('status');
  }
  return [
    call('GET /media', {
      query: Type.Object({
        origin: Type.Optional(Type.Union([Type.Literal('local'), Type.Literal('remote')])),
        order: Type.Optional(Type.Union([Type.Literal('size'), Type.Literal('age'), Type.Literal('access')])),
        from: Type.Optional(Type.Integer({ minimum: 0, maximum: FARTHEST })),
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MOST_AT_ONCE })),
      }),
      handle: async ({ query: { origin, order = 'size', from = 0, limit = USUAL } }) => {
        const media = await port().list({ origin, order, offset: from, limit: limit + 1 });
        const { local, remote } = port().figures();
        const total = (origin === 'remote' ? 0 : local.files) + (origin === 'local' ? 0 : remote.files);
        return { media: media.slice(0, limit), total, ...(media.length > limit ? { next: from + limit } : {}) };
      },
    }),
    call('GET /media/summary', {
      handle: async () => {
        const { directory, ...figures } = port().figures();
        const { bavail, bsize } = await statfs(directory);
        return { ...figures, freeBytes: bavail * bsize };
      },
    }),
    call('POST /media/remove', {
      body: Type.Object({
        media: Type.Array(
          Type.Object({ origin: Type.String({ maxLength: 255 }), mediaId: Type.String({ maxLength: 255 }) }),
          { maxItems: 1000 },
        ),
      }),
      handle: async ({ body }) => {
        const { removed, bytes } = await port().remove(body.media);
        moved();
        return { removed, bytes };
      },
    }),
    call('POST /media/purge-remote', {
      body: Type.Object({ unusedForDays: Type.Number({ minimum: 0, maximum: 100_000 }) }),
      handle: ({ body: { unusedForDays } }) => {
        const media = port();
        const beforeMs = clock.now() - unusedForDays * DAY_MS;
        const { id: jobId } = jobs.start({
          kind: 'media',
          title: 'Removing media of other servers that nobody looks at',
          canCancel: true,
          excludes: 'media',
          run: async (report) => {
            try {
              const gone = await media.removeUnusedRemote(beforeMs, {
                signal: report.signal,
                onProgress: ({ removed }) => report.progress(undefined, `${removed} removed`),
              });
              report.signal.throwIfAborted();
              return gone;
            } finally {
              moved();
            }
          },
        });
        return { jobId };
      },
    }),
  ];
}
