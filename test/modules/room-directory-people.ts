import { createHmac } from 'node:crypto';
import { expectOk, TestClient } from '../kit/test-client.ts';
import type { TestServer } from '../kit/test-server.ts';

/** Registers an administrator of the server. */
export async function registerAdmin(server: TestServer, username: string): Promise<TestClient> {
  const path = '/_synapse/admin/v1/register';
  const { nonce } = expectOk(await server.anonymous().get(path));
  const password = 'password of an administrator';
  const mac = createHmac('sha1', 'shared secret of the tests')
    .update([nonce, username, password, 'admin'].join('\0'))
    .digest('hex');
  const body = expectOk(await server.anonymous().post(path, { nonce, username, password, admin: true, mac }));
  return new TestClient(server, { token: body.access_token, userId: body.user_id, deviceId: body.device_id });
}
