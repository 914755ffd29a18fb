import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { TestIdentityServer } from '../kit/identity-server.ts';
import { MailSink } from '../kit/mail-sink.ts';
import { ScriptedAppService } from '../kit/scripted-app-service.ts';
import type { TestClient } from '../kit/test-client.ts';
import { TestServer } from '../kit/test-server.ts';
import { mailOptions } from '../modules/mail-house.ts';
import type { Exercise } from './exercise.ts';

export const v1 = '/_matrix/client/v1';
export const v3 = '/_matrix/client/v3';
export const room = `${v3}/rooms/:roomId`;

/** A page to be previewed, and a service that sends text messages, as far as it says that it does. */
async function startWeb(): Promise<AsyncDisposable & { url: string }> {
  const web = createServer((request, response) => {
    const isPage = request.url === '/page';
    response.writeHead(request.url?.includes('sid=none') === true ? 404 : 200, {
      'content-type': isPage ? 'text/html' : 'application/json',
    });
    const session = { sid: 'text', medium: 'msisdn', address: '447700900001', validated_at: 1_000 };
    response.end(isPage ? '<title>The page</title>' : JSON.stringify(session));
  });
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(web.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      web.closeAllConnections();
      await new Promise((resolve) => web.close(resolve));
    },
  };
}

/** A server with all that it needs around it for every operation to succeed. */
export async function startHouse() {
  const stack = new AsyncDisposableStack();
  const sink = stack.use(await MailSink.start());
  const web = stack.use(await startWeb());
  const identity = stack.use(await TestIdentityServer.start());
  const bridge = stack.use(await ScriptedAppService.start({ protocols: ['irc'] }));
  const config = {
    ...mailOptions(sink),
    account_threepid_delegates: { msisdn: web.url },
    app_service_config_files: [bridge.file],
    admin_contact: 'mailto:admin@example.org',
    allow_guest_access: true,
    allow_public_rooms_without_auth: false,
    enable_authenticated_media: false,
    ip_range_blacklist: [],
    login_via_existing_session: { enabled: true, require_ui_auth: false },
    public_baseurl: 'https://hearth.example/',
    trusted_key_servers: [],
    turn_uris: ['turn:turn.example?transport=udp'],
    turn_shared_secret: 'secret of the relay',
    url_preview_enabled: true,
    url_preview_ip_range_blacklist: [],
  };
  const server = stack.use(await TestServer.start({ network: identity.network, config }));
  return { sink, web, identity, bridge, server, config, [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose]() };
}

type House = Awaited<ReturnType<typeof startHouse>>;

/** Who is there when operations are asked for. */
export interface Story extends House {
  readonly ex: Exercise;
  readonly alice: TestClient;
  readonly bob: TestClient;
  readonly nobody: TestClient;
  readonly roomId: string;
}
