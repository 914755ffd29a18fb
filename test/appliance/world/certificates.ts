/** Certificates as they should not be. */
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { type IssuedCertificate, TestAuthority } from '../../kit/certificates.ts';

const DAY = 86_400_000;
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** A certificate that nobody but itself vouches for. */
export async function selfSigned(name: string, { isNamed = true } = {}): Promise<IssuedCertificate> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '0a',
    name: `CN=${name}`,
    notBefore: new Date(Date.now() - DAY),
    notAfter: new Date(Date.now() + 30 * DAY),
    keys: keys as CryptoKeyPair,
    signingAlgorithm: algorithm,
    extensions: isNamed ? [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }])] : [],
  });
  return { cert: `${certificate.toString('pem')}\n`, key: await exportKey(keys.privateKey) };
}

/** Two authorities, the second vouched for by the first. `leafOf` makes a certificate that says where the second's is to be had. */
export async function makeChain(): Promise<{
  root: string;
  middle: TestAuthority;
  leafOf: (name: string) => Promise<IssuedCertificate>;
}> {
  const [rootKeys, middleKeys] = await Promise.all([
    webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']),
    webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']),
  ]);
  const times = { notBefore: new Date(Date.now() - 3 * DAY), notAfter: new Date(Date.now() + 365 * DAY) };
  const extensions = [
    new x509.BasicConstraintsExtension(true, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
  ];
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: 'CN=Upper authority',
    keys: rootKeys as CryptoKeyPair,
    signingAlgorithm: algorithm,
    extensions,
    ...times,
  });
  const middle = await x509.X509CertificateGenerator.create({
    serialNumber: '02',
    subject: 'CN=Authority in between',
    issuer: root.subject,
    publicKey: middleKeys.publicKey as CryptoKey,
    signingKey: rootKeys.privateKey as CryptoKey,
    signingAlgorithm: algorithm,
    extensions,
    ...times,
  });
  const leafOf = async (name: string): Promise<IssuedCertificate> => {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const leaf = await x509.X509CertificateGenerator.create({
      serialNumber: '03',
      subject: `CN=${name}`,
      issuer: middle.subject,
      publicKey: keys.publicKey as CryptoKey,
      signingKey: middleKeys.privateKey as CryptoKey,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }]),
        new x509.AuthorityInfoAccessExtension({ caIssuers: 'http://authority.invalid/middle.der' }),
      ],
      ...times,
    });
    return { cert: `${leaf.toString('pem')}\n`, key: await exportKey(keys.privateKey) };
  };
  return { root: `${root.toString('pem')}\n`, middle: new TestAuthority(middle, middleKeys), leafOf };
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${der.replace(/(.{64})/g, '$1\n').trimEnd()}\n-----END PRIVATE KEY-----\n`;
}
