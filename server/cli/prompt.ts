import { createInterface, type Interface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { CommandError } from './command.ts';

/** Asks questions on the terminal. Answers may also come line by line from a file or a pipe. */
export class Prompt {
  #muted = false;
  readonly #lines: Interface;
  readonly #waiting: string[] = [];
  readonly #asked: ((line: string | undefined) => void)[] = [];
  #ended = false;

  constructor() {
    const output = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        if (!this.#muted) process.stderr.write(chunk);
        done();
      },
    });
    this.#lines = createInterface({ input: process.stdin, output, terminal: process.stdin.isTTY });
    // Lines are kept as they come: with a pipe, several are there before the second question is put.
    this.#lines.on('line', (line) => {
      const next = this.#asked.shift();
      if (next === undefined) this.#waiting.push(line);
      else next(line);
    });
    this.#lines.on('close', () => {
      this.#ended = true;
      for (const next of this.#asked.splice(0)) next(undefined);
    });
    this.#lines.on('SIGINT', () => this.#lines.close());
  }

  /** The answer to `question`. Throws CommandError if there is none. */
  async ask(question: string): Promise<string> {
    process.stderr.write(question);
    const line = this.#waiting.shift() ?? (await this.#nextLine());
    if (line === undefined) throw new CommandError('No answer was given');
    return line;
  }

  /** The same, without the answer being seen. */
  async askHidden(question: string): Promise<string> {
    this.#muted = true;
    try {
      return await this.ask(question);
    } finally {
      this.#muted = false;
      if (process.stdin.isTTY) process.stderr.write('\n');
    }
  }

  close(): void {
    this.#lines.close();
  }

  #nextLine(): Promise<string | undefined> {
    if (this.#ended) return Promise.resolve(undefined);
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    this.#asked.push(resolve);
    return promise;
  }
}

/** Asks for a password, twice, unseen. Throws CommandError if the answers differ. */
export async function askTwice(first: string, second: string, prompt = new Prompt()): Promise<string> {
  try {
    const password = await prompt.askHidden(first);
    if (password !== (await prompt.askHidden(second))) throw new CommandError('The passwords are not the same');
    return password;
  } finally {
    prompt.close();
  }
}
