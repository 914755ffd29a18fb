import { htmlReply, type Reply, route, type Route } from '../../../http/route.ts';
import { userId } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import type { Database } from '../../../storage/types.ts';
import { escapeHtml } from '../service/mail-html.ts';
import type { Pushers } from '../service/pushers.ts';
import { UNSUBSCRIBE_PATH, type UnsubscribeLinks } from '../service/unsubscribe.ts';

const query = Type.Object({
  user_id: userId,
  app_id: Type.String(),
  pushkey: Type.String(),
  token: Type.String(),
});

/**
 * Where the link of a mail leads. Opening it asks, since mail programs open links by themselves; only the button, or a mail
 * program's own (RFC 8058), puts an end to the mails.
 */
export function unsubscribeRoutes({
  db,
  links,
  pushers,
}: {
  readonly db: Pick<Database, 'write'>;
  readonly links: UnsubscribeLinks;
  readonly pushers: Pick<Pushers, 'remove'>;
}): Route[] {
  const wrong = (): Reply => page('This link is not one of ours', '<p>It may have been cut short on its way.</p>', 400);
  return [
    route({
      method: 'GET',
      path: UNSUBSCRIBE_PATH,
      auth: 'none',
      query,
      handle: ({ query: { user_id: who, app_id: appId, pushkey, token } }) => {
        if (!links.isGood({ userId: who, appId, pushkey, token })) return wrong();
        const text = `<p>No further mails about missed messages of ${escapeHtml(who)} to ${escapeHtml(pushkey)}?</p>`;
        return page('Unsubscribe', `${text}<form method="post"><button>Unsubscribe</button></form>`);
      },
    }),
    route({
      method: 'POST',
      path: UNSUBSCRIBE_PATH,
      auth: 'none',
      query,
      handle: ({ query: { user_id: who, app_id: appId, pushkey, token } }) => {
        if (!links.isGood({ userId: who, appId, pushkey, token })) return wrong();
        db.write((tx) => void pushers.remove(tx, who, appId, pushkey));
        return page('Unsubscribed', '<p>You will get no further mails about missed messages.</p>');
      },
    }),
  ];
}

function page(title: string, body: string, status = 200): Reply {
  return htmlReply(
    `<!doctype html><html lang="en"><head><meta charset="utf-8">` +
      `<meta name="viewport" content="width=device-width, initial-scale=1"><title>${title}</title>` +
      `<style>body{font-family:sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem}</style></head>` +
      `<body><h1>${title}</h1>${body}</body></html>`,
    status,
  );
}
