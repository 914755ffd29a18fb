import type { GuardedHttp, HttpAnswer } from '../../../federation/outbound/guarded-http.ts';
import { OutboundError } from '../../../federation/outbound/outbound-error.ts';
import { MatrixError } from '../../../matrix/errors.ts';
import type { JsonObject } from '../../../matrix/json.ts';
import { readObject } from './identity-servers.ts';

const OPTIONS = { timeoutMs: 20_000, maxBytes: 65_536, maxRedirects: 0 };

/** The server that sends text messages for this one (`account_threepid_delegates`). */
export interface MsisdnDelegate {
  /** Has a code sent; returns the session's ID there. Its refusals are passed on. */
  requestToken(request: JsonObject): Promise<string>;
  /** Whether the code was right. */
  submitToken(request: {
    readonly sid: string;
    readonly clientSecret: string;
    readonly token: string;
  }): Promise<boolean>;
  /** The number that was validated in a session, and when; undefined if none was. */
  findValidated(
    sid: string,
    clientSecret: string,
  ): Promise<{ readonly address: string; readonly validatedMs: number } | undefined>;
}

export function createMsisdnDelegate(http: GuardedHttp, baseUrl: string): MsisdnDelegate {
  const base = `${baseUrl.replace(/\/+$/, '')}/_matrix/identity/api/v1`;

  async function ask(call: () => Promise<HttpAnswer>): Promise<{ status: number; body: JsonObject }> {
    try {
      const answer = await call();
      return { status: answer.status, body: readObject(answer.body) ?? {} };
    } catch (error) {
      if (!(error instanceof OutboundError)) throw error;
      throw new MatrixError('M_UNKNOWN', 'The server that sends text messages cannot be reached', { status: 502 });
    }
  }

  return {
    requestToken: async (request) => {
      const { status, body } = await ask(() => http.post(`${base}/validate/msisdn/requestToken`, request, OPTIONS));
      const { sid, errcode, error } = body;
      if (status === 200 && typeof sid === 'string' && sid !== '') return sid;
      throw new MatrixError(
        status < 500 && typeof errcode === 'string' ? errcode : 'M_UNKNOWN',
        typeof error === 'string' ? error.slice(0, 500) : 'The text message could not be sent',
        { status: status >= 400 && status < 500 && status !== 401 ? status : 502 },
      );
    },

    submitToken: async ({ sid, clientSecret, token }) => {
      const request = { sid, client_secret: clientSecret, token };
      const { status, body } = await ask(() => http.post(`${base}/validate/msisdn/submitToken`, request, OPTIONS));
      return status === 200 && body['success'] === true;
    },

    findValidated: async (sid, clientSecret) => {
      const query = new URLSearchParams({ sid, client_secret: clientSecret });
      const { status, body } = await ask(() => http.get(`${base}/3pid/getValidated3pid?${query.toString()}`, OPTIONS));
      const { medium, address, validated_at: validatedMs } = body;
      if (status !== 200 || medium !== 'msisdn' || typeof address !== 'string' || !/^\d{1,32}$/.test(address)) {
        return undefined;
      }
      return { address, validatedMs: typeof validatedMs === 'number' ? validatedMs : 0 };
    },
  };
}
