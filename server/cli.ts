import { enableCompileCache } from 'node:module';

// Compiled once, the server's modules start in about half the time. It counts for what is imported from here on, so
// nothing may be imported above.
enableCompileCache();
const { runHere } = await import('./cli/run.ts');
await runHere();
