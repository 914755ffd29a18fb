import { isIP } from 'node:net';
import { checkServerIdentity, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import { bad, good, type Remark, warning } from './finding.ts';
import { codeOf } from './world.ts';

/** What a TLS server showed of itself. Times are ms since the epoch. */
export interface TlsFacts {
  readonly protocol: string;
  /** What the certificate had to be for. */
  readonly name: string;
  /** What it is for. */
  readonly names: readonly string[];
  readonly isForName: boolean;
  readonly subject: string;
  readonly issuer: string;
  /** Who vouches for the last certificate that was sent, which may be that of somebody in between. */
  readonly lastIssuer: string;
  readonly validFrom: number;
  readonly validTo: number;
  /** OpenSSL's name for what is wrong with the chain; undefined: nothing. */
  readonly problem: string | undefined;
  /** Says where the certificate of its authority is to be had, as those of public authorities do. */
  readonly namesItsIssuer: boolean;
}

const DAY_MS = 86_400_000;
/** Certificates are renewed a month before their end; those that hold for days only, when a third of their life is left. */
const SOON_DAYS = 14;

export function readCertificate(socket: TLSSocket, name: string): TlsFacts {
  const certificate = socket.getPeerCertificate(true);
  const error: unknown = socket.authorizationError;
  // Types say it is an Error; it has long been a bare code as well.
  const problem = error === undefined || error === null ? undefined : typeof error === 'string' ? error : codeOf(error);
  return {
    protocol: socket.getProtocol() ?? 'TLS',
    name,
    names: namesOf(certificate),
    // Node takes the subject where there are no names; other programs have long given that up.
    isForName:
      certificate.subjectaltname !== undefined &&
      checkServerIdentity(name.replace(/\.$/, ''), certificate) === undefined,
    subject: nameOf(certificate.subject),
    issuer: nameOf(certificate.issuer),
    lastIssuer: nameOf(lastOf(certificate).issuer),
    validFrom: Date.parse(certificate.valid_from),
    validTo: Date.parse(certificate.valid_to),
    problem,
    namesItsIssuer: certificate.infoAccess?.['CA Issuers - URI'] !== undefined,
  };
}

function namesOf(certificate: DetailedPeerCertificate): string[] {
  return (certificate.subjectaltname ?? '')
    .split(', ')
    .filter((entry) => entry !== '')
    .map((entry) => entry.replace(/^(?:DNS|IP Address):/, ''));
}

function lastOf(certificate: DetailedPeerCertificate): DetailedPeerCertificate {
  let last = certificate;
  // One that vouches for itself is its own issuer. Nobody sends more than a few.
  for (let step = 0; step < 10; step++) {
    const next = last.issuerCertificate as DetailedPeerCertificate | undefined;
    if (next === undefined || next.fingerprint256 === last.fingerprint256) break;
    last = next;
  }
  return last;
}

function nameOf(subject: DetailedPeerCertificate['subject'] | undefined): string {
  const [found] = [subject?.CN ?? subject?.O ?? 'nobody'].flat();
  return found ?? 'nobody';
}

/** Whole days until a certificate ends; negative once it has. */
export function daysLeft({ validTo }: Pick<TlsFacts, 'validTo'>, now: number): number {
  return Math.floor((validTo - now) / DAY_MS);
}

/** Whether another server would go on with this certificate. */
export function isTrusted({ isForName, problem }: TlsFacts): boolean {
  return isForName && problem === undefined;
}

/** What others make of a certificate. */
export function judgeCertificate(tls: TlsFacts, now: number): Remark {
  const { name, names, subject, issuer, protocol, problem, validTo, validFrom } = tls;
  const until = new Date(validTo).toISOString().slice(0, 10);
  const details = [
    `Certificate of ${subject}, issued by ${issuer}`,
    `Names in it: ${names.length === 0 ? 'none' : names.slice(0, 20).join(', ')}`,
    `Good until ${until}`,
    `Connection: ${protocol}`,
  ];
  const days = daysLeft(tls, now);
  // The system's clock may be another one than ours, as in a machine that has just woken up.
  if (validTo <= now || problem === 'CERT_HAS_EXPIRED') {
    const whose = validTo <= now ? 'The certificate' : 'A certificate in the chain';
    return bad(
      `${whose} has expired${validTo <= now ? ` on ${until}` : ''}: no other server connects any more.`,
      'Renew the certificate, have the program that serves it load the new one, and find out why it was not renewed by itself.',
      details,
    );
  }
  if (validFrom > now || problem === 'CERT_NOT_YET_VALID') {
    return bad(
      `The certificate is only good from ${new Date(validFrom).toISOString().slice(0, 10)} on.`,
      'Check the date and time of this computer and of the one that made the certificate.',
      details,
    );
  }
  if (!tls.isForName) {
    return bad(
      names.length === 0
        ? `The certificate names nobody where others look for it (subjectAltName); its subject, ${subject}, does not count.`
        : `The certificate is not for ${name} but for ${names.slice(0, 5).join(', ')}.`,
      isIP(name) === 0
        ? `Get a certificate for ${name} and serve it to whoever asks for that name. (With an SRV record the certificate still has to be for ${name}, not for the name in the record.)`
        : `Give the server a name instead of an address, or get a certificate for the address ${name}.`,
      details,
    );
  }
  switch (problem) {
    case undefined:
      break;
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
      return bad(
        'The certificate is signed by itself: no other server trusts it.',
        'Get a certificate from an authority such as Let’s Encrypt, which is free, and serve that one.',
        details,
      );
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return bad(
        tls.namesItsIssuer
          ? `The server sends its own certificate, but not that of ${issuer}, the authority in between. Browsers fetch it by themselves, other servers do not.`
          : `Nobody knows ${issuer}, who issued the certificate, and no certificate in between was sent.`,
        'Serve the whole chain: with certbot that is fullchain.pem in place of cert.pem.',
        details,
      );
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_GET_ISSUER_CERT':
      return bad(
        `The chain of certificates ends at ${tls.lastIssuer}, which nobody knows: either its certificate is lacking in the chain, or it is no public authority.`,
        'Serve the whole chain (with certbot: fullchain.pem). If it is whole, get a certificate from an authority that everybody trusts, such as Let’s Encrypt.',
        details,
      );
    default:
      return bad(
        `The certificate is not accepted (${problem}).`,
        'Get a new certificate from a public authority and serve it with its whole chain.',
        details,
      );
  }
  if (validTo - now < Math.min(SOON_DAYS * DAY_MS, (validTo - validFrom) / 3)) {
    return warning(
      `The certificate ends ${days === 0 ? 'within a day' : days === 1 ? 'in 1 day' : `in ${days} days`}.`,
      'It should have been renewed by now: look whether renewing works (certbot renew --dry-run, or the log of your proxy).',
      details,
    );
  }
  const left = days === 0 ? 'some hours' : days === 1 ? 'day' : `${days} days`;
  return good(`The certificate is for ${name}, trusted, and good for another ${left}.`, details);
}
