import type { TestEvent } from 'node:test/reporters';

/** Names every skipped or postponed test and makes the run fail because of it. */
export default async function* noSkips(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const { skip, todo, name, file } = event.data;
    const reason = skip ?? todo;
    if (reason === undefined || reason === false) continue;
    process.exitCode = 1;
    yield `Not run, which counts as a failure: ${name} (${file ?? 'unknown file'})\n`;
  }
}
