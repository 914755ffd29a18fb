import type { Module } from '../../module.ts';
import { previewRoutes } from './routes.ts';
import { BlockList } from './service/block-list.ts';
import { Fetcher } from './service/fetcher.ts';
import type { PreviewNeeds } from './service/needs.ts';
import { OembedProviders } from './service/oembed-providers.ts';
import { Previews } from './service/previews.ts';
import { PreviewStore } from './store.ts';

export { migrations } from './schema.ts';
export type { PreviewNeeds, PreviewSettings } from './service/needs.ts';

/** What is behind the links that people send (spec: "Content repository", GET /media/preview_url). */
export function urlPreviews(needs: PreviewNeeds): Module {
  const { db, clock, http, settings } = needs;
  const previews = new Previews({
    ...needs,
    store: new PreviewStore(db),
    fetcher: new Fetcher({
      clock,
      http,
      blocked: new BlockList(settings.blockedUrls),
      acceptLanguage: settings.acceptLanguage,
    }),
    providers: new OembedProviders(settings),
  });
  return {
    name: 'url-previews',
    routes: previewRoutes(previews),
    start: () => previews.start(),
    stop: () => previews.stop(),
  };
}
