/** The page that stands in for the interface while the server has been given up. */
import type { ServerState } from './contract.ts';
import { strings } from './strings.ts';

export const FAILURE_PATH = '/_shell/failure';

/** The files of the page, by their paths; undefined for any other path. */
export function failureFiles(path: string, state: ServerState): { type: string; body: string } | undefined {
  if (path === FAILURE_PATH) return { type: 'text/html; charset=utf-8', body: html(state) };
  if (path === `${FAILURE_PATH}.js`) return { type: 'text/javascript; charset=utf-8', body: SCRIPT };
  return undefined;
}

function html(state: ServerState): string {
  const { title, lastLines, again, logFolder } = strings.failurePage;
  const message = state.kind === 'failed' ? state.message : strings.tray.starting;
  const log = state.kind === 'failed' ? state.log : [];
  const tail = log.length === 0 ? '' : `<h2>${lastLines}</h2><pre tabindex="0">${escape(log.join('\n'))}</pre>`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>
  :root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
  body { max-width: 44rem; margin: 12vh auto; padding: 0 1.5rem; background: Canvas; color: CanvasText }
  pre { overflow: auto; max-height: 40vh; padding: 1rem; border: 1px solid GrayText; border-radius: .5rem; font-size: .85rem }
  button { font: inherit; padding: .5rem 1rem; margin-right: .5rem }
</style>
<main>
<h1>${title}</h1>
<p role="alert">${escape(message)}</p>
<p><button id="again">${again}</button><button id="log">${logFolder}</button></p>
<p id="answer" role="status"></p>
${tail}
</main>
<script src="${FAILURE_PATH}.js"></script>
</html>
`;
}

const SCRIPT = `
const answer = document.getElementById('answer');
const does = (id, work) => document.getElementById(id).addEventListener('click', () => {
  answer.textContent = '';
  // What comes before the reason says through which channel it came.
  work().catch((error) => { answer.textContent = error.message.replace(/^Error invoking remote method '[^']*': (?:Error: )?/, ''); });
});
does('again', () => window.hearth.restartServer());
does('log', () => window.hearth.openFolder('logs'));
`;

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
