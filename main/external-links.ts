import type { WebContents } from 'electron';
import { PAGE_ORIGIN } from './protocol.ts';

interface LinkParts {
  /** Opens it in the person's own browser or mail program. */
  readonly openExternal: (url: string) => Promise<void>;
  readonly onError: (error: unknown) => void;
}

/** Whether a link of the page may be handed to the system. */
export function mayLeave(address: string): boolean {
  const url = parse(address);
  if (url === undefined) return false;
  if (url.protocol === 'mailto:') return true;
  // A name and a password in a link are there to mislead.
  return url.protocol === 'https:' && url.username === '' && url.password === '';
}

export function isOurPage(address: string): boolean {
  const url = parse(address);
  return url !== undefined && url.protocol === 'hearth:' && `${url.protocol}//${url.host}` === PAGE_ORIGIN;
}

/** Keeps a page where it is: no navigation away, no new windows, no embedded pages. Links go to the system, if they may. */
export function keepInside(contents: WebContents, { openExternal, onError }: LinkParts): void {
  const leave = (url: string): void => {
    if (mayLeave(url)) openExternal(url).catch(onError);
  };
  contents.setWindowOpenHandler(({ url }) => {
    leave(url);
    return { action: 'deny' };
  });
  const stay = (event: { preventDefault(): void; readonly url: string }): void => {
    if (isOurPage(event.url)) return;
    event.preventDefault();
    leave(event.url);
  };
  contents.on('will-frame-navigate', stay);
  contents.on('will-redirect', (event) => {
    if (!isOurPage(event.url)) event.preventDefault();
  });
  contents.on('will-attach-webview', (event) => event.preventDefault());
}

function parse(address: string): URL | undefined {
  return URL.canParse(address) ? new URL(address) : undefined;
}
