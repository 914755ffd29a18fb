import { join } from 'node:path';
import type { SafeStorage } from 'electron';
import { isObject, readObject, writeWhole } from './files.ts';

interface SecretsParts {
  readonly directory: string;
  readonly platform: NodeJS.Platform;
  readonly safeStorage: Pick<
    SafeStorage,
    'isAsyncEncryptionAvailable' | 'encryptStringAsync' | 'decryptStringAsync' | 'getSelectedStorageBackend'
  >;
}

const OPEN_BACKENDS = new Set(['basic_text', 'unknown']);

/** `sealed`: encrypted with a key that the system's key store holds. */
interface Kept {
  readonly how: 'sealed' | 'plain';
  readonly value: string;
}

/**
 * What the server must remember and no other user of this machine may read, by names. In `secrets.json` (mode 0600),
 * sealed by the system's key store where there is one. One thing at a time: the caller waits for each call.
 */
export class Secrets {
  readonly #parts: SecretsParts;
  readonly #path: string;
  #line: Promise<unknown> = Promise.resolve();

  constructor(parts: SecretsParts) {
    this.#parts = parts;
    this.#path = join(parts.directory, 'secrets.json');
  }

  /** Where secrets are kept from now on. */
  async place(): Promise<'system' | 'file'> {
    const { safeStorage, platform } = this.#parts;
    // These seal with a key that everybody knows.
    if (platform === 'linux' && OPEN_BACKENDS.has(safeStorage.getSelectedStorageBackend())) return 'file';
    try {
      return (await safeStorage.isAsyncEncryptionAvailable()) ? 'system' : 'file';
    } catch {
      // A key store that fails when it is asked is none.
      return 'file';
    }
  }

  /** All that is kept, but for what the key store no longer opens. */
  list(): Promise<Record<string, string>> {
    return this.#inTurn(async () => {
      const found: Record<string, string> = {};
      for (const [name, kept] of Object.entries(this.#read())) {
        const value = await this.#open(name, kept);
        if (value !== undefined) found[name] = value;
      }
      return found;
    });
  }

  /** Undefined forgets it. */
  put(name: string, value: string | undefined): Promise<void> {
    return this.#inTurn(async () => {
      if (value !== undefined) return this.#write(name, value);
      const { [name]: _gone, ...others } = this.#read();
      this.#keep(others);
    });
  }

  async #open(name: string, { how, value }: Kept): Promise<string | undefined> {
    if (how === 'plain') return value;
    try {
      const { result, shouldReEncrypt } = await this.#parts.safeStorage.decryptStringAsync(
        Buffer.from(value, 'base64'),
      );
      if (shouldReEncrypt) await this.#write(name, result);
      return result;
    } catch {
      // The key went with another account or another machine: the secret has to be given anew.
      return undefined;
    }
  }

  async #write(name: string, value: string): Promise<void> {
    const kept = (await this.place()) === 'system' ? await this.#seal(value) : undefined;
    this.#keep({ ...this.#read(), [name]: kept ?? { how: 'plain', value } });
  }

  /** Undefined where the key store refuses; to lose the secret would be worse than to keep it as if there were none. */
  async #seal(value: string): Promise<Kept | undefined> {
    try {
      const sealed = await this.#parts.safeStorage.encryptStringAsync(value);
      return { how: 'sealed', value: sealed.toString('base64') };
    } catch {
      return undefined;
    }
  }

  #read(): Record<string, Kept> {
    const found: Record<string, Kept> = {};
    for (const [name, kept] of Object.entries(readObject(this.#path) ?? {})) {
      if (!isObject(kept) || typeof kept['value'] !== 'string') continue;
      if (kept['how'] === 'sealed' || kept['how'] === 'plain') found[name] = { how: kept['how'], value: kept['value'] };
    }
    return found;
  }

  #keep(secrets: Record<string, Kept>): void {
    writeWhole(this.#path, `${JSON.stringify(secrets)}\n`);
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#line.then(work);
    this.#line = result.catch(() => undefined);
    return result;
  }
}
