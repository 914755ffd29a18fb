import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Home } from './driver.ts';

/** A program that an AppImage stands for here: it does nothing, and can be told from others. */
export function appImage(version: string): string {
  return `#!/bin/sh\n# Hearth ${version}\nexit 0\n`;
}

/** Where a packaged program finds its updates: a real server on this machine. */
export class UpdateFeed implements AsyncDisposable {
  readonly #server: Server;
  readonly #files = new Map<string, string>();
  readonly #key: KeyObject;
  readonly #publicKey: string;
  /** The paths that were asked for. */
  readonly asked: string[] = [];

  private constructor(server: Server) {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    this.#key = privateKey;
    this.#publicKey = publicKey.export({ type: 'spki', format: 'pem' }).toString();
    this.#server = server;
    server.on('request', (request, response) => {
      const path = new URL(request.url ?? '/', 'http://feed').pathname;
      this.asked.push(path);
      const content = this.#files.get(path);
      response.writeHead(content === undefined ? 404 : 200);
      response.end(content);
    });
  }

  static async start(): Promise<UpdateFeed> {
    const server = createServer();
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    return new UpdateFeed(server);
  }

  /** Offers a version, signed, in the folder `at`. `alter` changes what was signed, or what is fetched. */
  offer(version: string, alter: { signature?: string; file?: string; at?: string } = {}): void {
    const name = `Hearth-${version}.AppImage`;
    const content = appImage(version);
    const sha512 = createHash('sha512').update(content).digest('base64');
    const size = Buffer.byteLength(content);
    const description = stringify({ version, files: [{ url: name, sha512, size }], path: name, sha512 });
    const at = alter.at ?? '';
    const channel = `${at}/latest-linux${process.arch === 'x64' ? '' : `-${process.arch}`}.yml`;
    this.#files.set(channel, description);
    this.#files.set(
      `${channel}.sig`,
      alter.signature ?? sign(null, Buffer.from(description), this.#key).toString('base64'),
    );
    this.#files.set(`${at}/${name}`, alter.file ?? content);
  }

  /** Makes a packaged program of `home`: with the feed's address and key, and the file that it is. */
  install(home: Home, version: string): { resources: string; program: string } {
    const address = this.#server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const resources = join(home.path, 'resources');
    mkdirSync(resources, { recursive: true });
    writeFileSync(
      join(resources, 'app-update.yml'),
      stringify({ provider: 'generic', url: `http://127.0.0.1:${port}`, updaterCacheDirName: 'hearth-updater' }),
    );
    writeFileSync(join(resources, 'update-key.pem'), this.#publicKey);
    const program = join(home.path, 'Hearth.AppImage');
    writeFileSync(program, appImage(version), { mode: 0o755 });
    return { resources, program };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => void this.#server.close(resolve));
  }
}
