import { MatrixError } from '../../matrix/errors.ts';
import { Type } from '../../http/type.ts';
import { call, type ControlCall } from '../control/call.ts';
import { readLogPage } from './log-pages.ts';
import type { Problems } from './problems.ts';

/** What went wrong, and the log behind it. */
export function logCalls({
  problems,
  logFile,
}: {
  readonly problems: Pick<Problems, 'list' | 'dismiss'>;
  /** Undefined where the log goes to standard output. */
  readonly logFile: () => string | undefined;
}): ControlCall[] {
  return [
    call('GET /problems', { handle: () => ({ problems: problems.list() }) }),
    call('POST /problems/{problemId}/dismiss', {
      handle: ({ params: { problemId } }) => {
        problems.dismiss(problemId);
        return {};
      },
    }),
    call('GET /logs', {
      query: Type.Object({
        before: Type.Optional(Type.String({ maxLength: 40 })),
        limit: Type.Optional(Type.Integer({ minimum: 1 })),
        level: Type.Optional(
          Type.Union([Type.Literal('debug'), Type.Literal('info'), Type.Literal('warn'), Type.Literal('error')]),
        ),
        text: Type.Optional(Type.String({ maxLength: 200 })),
      }),
      handle: async ({ query }) => {
        const file = logFile();
        if (file === undefined) {
          throw new MatrixError('M_NOT_FOUND', 'The log goes to standard output, so that it cannot be shown here');
        }
        return readLogPage(file, query);
      },
    }),
  ];
}
