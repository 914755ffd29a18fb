/**
 * The process that draws thumbnails, one at a time, on behalf of the server. It holds nothing that would be missed: where a
 * picture is too much for it, it is killed, or ends itself, and another takes its place.
 */
import { constants, setPriority } from 'node:os';
import { draw, measure, prepareToDraw } from './draw.ts';
import type { Order } from './protocol.ts';

const MAX_MEMORY_BYTES = 1024 ** 3;
const MEMORY_CHECK_MS = 250;

prepareToDraw();
// People who use this machine come first.
setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
// The pixels are not in the heap that Node bounds.
setInterval(() => {
  if (process.memoryUsage.rss() > MAX_MEMORY_BYTES) process.exit(1);
}, MEMORY_CHECK_MS).unref();

process.on('disconnect', () => process.exit(0));
process.on('message', (order: Order) => {
  void ('kind' in order ? measure(order) : draw(order)).then((answer) => process.send?.(answer));
});
