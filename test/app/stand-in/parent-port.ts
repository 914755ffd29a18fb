/** Loaded into a child process that stands in for a utility process: gives it `process.parentPort`, and ends it with its parent. */
import { EventEmitter } from 'node:events';

class ParentPort extends EventEmitter {
  postMessage(message: unknown): void {
    if (process.connected) process.send?.(message);
  }
}
const port = new ParentPort();
process.on('message', (data) => port.emit('message', { data, ports: [] }));
process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
Object.assign(process, { parentPort: port });
