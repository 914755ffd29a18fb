import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { checkServerIdentity, createSecureContext, type ConnectionOptions, type SecureContext } from 'node:tls';

/** How the other end of a TLS connection has to prove who it is. */
export interface TlsSettings {
  readonly verifyCertificates: boolean;
  /** Globs of names whose certificates are not checked. */
  readonly unverifiedNames: readonly string[];
  /** PEM files with the authorities that count; undefined: those that Node knows. */
  readonly customCaPaths: readonly string[] | undefined;
  readonly minimumVersion: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';
}

/** Certificates are checked against the authorities everybody trusts. */
export const ordinaryTls: TlsSettings = {
  verifyCertificates: true,
  unverifiedNames: [],
  customCaPaths: undefined,
  minimumVersion: 'TLSv1.2',
};

/** The options of a TLS connection, by the name or address the certificate must be for. */
export class TlsPolicy {
  readonly #verify: boolean;
  readonly #unverified: readonly RegExp[];
  readonly #authorities: readonly string[] | undefined;
  readonly #minimumVersion: TlsSettings['minimumVersion'];
  #context: SecureContext | undefined;

  /** Reads the files of authorities at once. Throws Error naming the file where one cannot be read or holds none. */
  constructor(settings: TlsSettings) {
    this.#verify = settings.verifyCertificates;
    this.#unverified = settings.unverifiedNames.map(globToRegExp);
    this.#minimumVersion = settings.minimumVersion;
    this.#authorities = settings.customCaPaths?.map(readAuthorities);
    if (this.#authorities !== undefined) this.#context = this.#createContext();
  }

  /**
   * Options for `tls.connect`. `name` is what the certificate must be for: a DNS name, which is asked for by SNI, or an IP
   * literal, for which there is no SNI (RFC 6066, section 3). `aliases` are further names by which it may be excepted.
   */
  optionsFor(name: string, aliases: readonly string[] = []): ConnectionOptions {
    const bare = name.replace(/\.$/, '');
    const verify = this.#verify && ![bare, ...aliases].some((alias) => this.#isExcepted(alias));
    this.#context ??= this.#createContext();
    return {
      secureContext: this.#context,
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: verify,
      checkServerIdentity: verify ? (_, certificate) => checkServerIdentity(bare, certificate) : () => undefined,
      ...(isIP(bare) === 0 ? { servername: bare } : {}),
    };
  }

  #isExcepted(name: string): boolean {
    return this.#unverified.some((glob) => glob.test(name));
  }

  #createContext(): SecureContext {
    return createSecureContext({
      minVersion: this.#minimumVersion,
      ...(this.#authorities === undefined ? {} : { ca: [...this.#authorities] }),
    });
  }
}

function readAuthorities(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(`the file of certificate authorities ${path} cannot be read`, { cause: error });
  }
  if (!text.includes('-----BEGIN CERTIFICATE-----')) throw new Error(`${path} holds no certificate in PEM format`);
  return text;
}

/** `*` is any text, `?` any character. */
function globToRegExp(glob: string): RegExp {
  const escaped = glob.replaceAll(/[.+^${}()|[\]\\]/g, '\\$&');
  // Stars in a row would make the expression backtrack without end.
  return new RegExp(`^${escaped.replaceAll(/\*+/g, '.*').replaceAll('?', '.')}$`, 'i');
}
