import { enableCompileCache } from 'node:module';

// Compiled once, the server's modules start in about half the time. It counts for what is imported from here on, so
// nothing may be imported above.
enableCompileCache();
const { run } = await import('./cli/run.ts');

process.exitCode = await run(process.argv.slice(2), {
  print: (line) => process.stdout.write(`${line}\n`),
  complain: (line) => process.stderr.write(`${line}\n`),
});
