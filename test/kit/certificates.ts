// The library below asks for this metadata support to be loaded before it.
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';

/** A certificate and its private key, in PEM format. */
export interface IssuedCertificate {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateWishes {
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

const DAY = 86_400_000;
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

x509.cryptoProvider.set(webcrypto as unknown as Crypto);

/** An authority that vouches for whatever it is asked to. Trusted by nobody who isn't told to. */
export class TestAuthority {
  /** In PEM format. */
  readonly cert: string;
  readonly #certificate: x509.X509Certificate;
  readonly #keys: webcrypto.CryptoKeyPair;

  constructor(certificate: x509.X509Certificate, keys: webcrypto.CryptoKeyPair) {
    this.#certificate = certificate;
    this.#keys = keys;
    this.cert = `${certificate.toString('pem')}\n`;
  }

  async issue({ dnsNames = [], ipAddresses = [], notBefore, notAfter }: CertificateWishes): Promise<IssuedCertificate> {
    const keys = await makeKeys();
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: makeSerial(),
      subject: `CN=${dnsNames[0] ?? ipAddresses[0] ?? 'nobody'}`,
      issuer: this.#certificate.subject,
      notBefore: notBefore ?? new Date(Date.now() - 2 * DAY),
      notAfter: notAfter ?? new Date(Date.now() + 30 * DAY),
      publicKey: keys.publicKey as CryptoKey,
      signingKey: this.#keys.privateKey as CryptoKey,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.SubjectAlternativeNameExtension([
          ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
          ...ipAddresses.map((value) => ({ type: 'ip' as const, value })),
        ]),
        new x509.BasicConstraintsExtension(false),
      ],
    });
    return { cert: `${certificate.toString('pem')}\n`, key: await exportKey(keys.privateKey) };
  }

  /** Issues a certificate and writes it to `dir`; gives the paths of the files, that of the authority too. */
  async issueTo(
    dir: string,
    wishes: CertificateWishes,
  ): Promise<{ readonly certPath: string; readonly keyPath: string; readonly caPath: string }> {
    mkdirSync(dir, { recursive: true });
    const paths = { certPath: join(dir, 'tls.crt'), keyPath: join(dir, 'tls.key'), caPath: join(dir, 'ca.crt') };
    const { cert, key } = await this.issue(wishes);
    writeFileSync(paths.certPath, cert);
    writeFileSync(paths.keyPath, key, { mode: 0o600 });
    writeFileSync(paths.caPath, this.cert);
    return paths;
  }
}

/** A new certificate authority. */
export async function makeAuthority(name = 'Hearth test authority'): Promise<TestAuthority> {
  const keys = await makeKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: makeSerial(),
    name: `CN=${name}`,
    notBefore: new Date(Date.now() - 3 * DAY),
    notAfter: new Date(Date.now() + 365 * DAY),
    keys: keys as CryptoKeyPair,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  return new TestAuthority(certificate, keys);
}

async function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${der.replace(/(.{64})/g, '$1\n').trimEnd()}\n-----END PRIVATE KEY-----\n`;
}

function makeSerial(): string {
  return Buffer.from(webcrypto.getRandomValues(new Uint8Array(8)))
    .toString('hex')
    .replace(/^./, '1');
}
