/** Loaded before the program: `electron` is the stand-in from here on, and the test may have work done in this process. */
import { registerHooks } from 'node:module';
import { inspect } from 'node:util';
import { runInThisContext } from 'node:vm';
import { settings } from './world.ts';

const standIn = new URL('electron.ts', import.meta.url).href;

registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'electron'
      ? { url: standIn, shortCircuit: true, format: 'module-typescript' }
      : next(specifier, context),
});
Object.assign(process, { resourcesPath: settings.resources });

interface Question {
  readonly id: number;
  /** A function of the test's, as it is written. */
  readonly source: string;
  readonly argument: unknown;
}

process.on('message', (question: Question) => void answer(question));

async function answer({ id, source, argument }: Question): Promise<void> {
  try {
    const electron: unknown = await import(standIn);
    const work = runInThisContext(`(${source})`) as (electron: unknown, argument: unknown) => unknown;
    process.send?.({ id, result: await work(electron, argument) });
  } catch (error) {
    process.send?.({ id, error: inspect(error) });
  }
}
