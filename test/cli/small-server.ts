import { createServer } from 'node:http';
import { once } from 'node:events';
import { run } from '../../server/cli/run.ts';
import { serveWith } from '../../server/cli/serve.ts';
import type { StartServer } from '../../server/cli/running-server.ts';
import { ListenError } from '../../server/http/listener.ts';

// The command "serve" around a server that does next to nothing, so that what is the command's own can be looked at:
// files, signals, what is printed. Its name tells it how to behave.
const startSmallServer: StartServer = async (config, log, { setupLink = false }) => {
  const [listener] = config.listeners;
  const server = createServer((_request, response) => {
    log.info({}, 'asked');
    response.end('here');
    if (config.serverName === 'failing.example') setImmediate(() => failLater());
  });
  server.listen({ port: listener?.port, host: listener?.bindAddresses[0] });
  try {
    await once(server, 'listening');
  } catch (error) {
    throw new ListenError(`cannot listen on port ${listener?.port}: another program is using it`, error);
  }
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new TypeError('no port');
  return {
    addresses: [{ address: bound.address, port: bound.port, tls: false, resources: ['client'] }],
    setupLink: setupLink ? 'http://localhost/setup' : undefined,
    reload: () => log.info({}, 'certificates read'),
    wake: () => {},
    stop: async () => {
      log.info({}, 'small server stopped');
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
};

function failLater(): void {
  throw new Error('out of luck');
}

const terminal = {
  print: (line: string) => process.stdout.write(`${line}\n`),
  complain: (line: string) => process.stderr.write(`${line}\n`),
};
process.exitCode = await run(process.argv.slice(2), terminal, { serve: serveWith(startSmallServer) });
