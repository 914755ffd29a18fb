import type { GuardedHttp } from '../../../federation/outbound/guarded-http.ts';
import { OutboundError } from '../../../federation/outbound/outbound-error.ts';
import { parseJson } from '../../../matrix/canonical-json.ts';
import { MatrixError } from '../../../matrix/errors.ts';
import { isJsonObject } from '../../../matrix/json.ts';
import type { Captcha } from './proofs.ts';

export interface CaptchaSettings {
  readonly required: boolean;
  readonly publicKey: string;
  readonly privateKey: string;
  readonly verifyUrl: string;
}

/** reCAPTCHA, or whatever speaks like it. */
export function createCaptcha(http: Pick<GuardedHttp, 'post'>, settings: CaptchaSettings): Captcha {
  const { required, publicKey, privateKey, verifyUrl } = settings;
  return {
    publicKey,
    required,
    verify: async (response, ip) => {
      const form = new URLSearchParams({ secret: privateKey, response, remoteip: ip });
      try {
        const answer = await http.post(verifyUrl, Buffer.from(form.toString()), {
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
          timeoutMs: 15_000,
          maxBytes: 65_536,
        });
        const verdict = answer.status === 200 ? parseJson(answer.body) : undefined;
        return isJsonObject(verdict) && verdict['success'] === true;
      } catch (error) {
        if (error instanceof MatrixError) return false;
        if (!(error instanceof OutboundError)) throw error;
        throw new MatrixError('M_UNKNOWN', 'The captcha cannot be checked at the moment', { status: 502 });
      }
    },
  };
}
