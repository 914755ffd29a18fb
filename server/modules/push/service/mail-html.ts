import type * as HtmlParser from 'htmlparser2';
import { SafeHtml } from '../../../mail/index.ts';

/** Loaded with the first mail. */
let parsers: typeof HtmlParser | undefined;

/** Makes ready what `cleanHtml` needs. */
export async function prepareHtml(): Promise<void> {
  parsers ??= await import('htmlparser2');
}

/** Elements a message in a mail may have (a part of those in spec: m.room.message, `formatted_body`). */
const ELEMENTS = new Set(
  'b blockquote br code del div em font h1 h2 h3 h4 h5 h6 hr i li ol p pre s span strike strong sub sup table tbody td th thead tr u ul a'.split(
    ' ',
  ),
);
const VOID = new Set(['br', 'hr']);
/** What is within these is no text for people; `mx-reply` repeats the message that is answered. */
const LEFT_OUT = new Set(['mx-reply', 'script', 'style', 'title', 'textarea', 'noscript', 'iframe', 'template']);
const COLOR = /^#[0-9a-f]{3}(?:[0-9a-f]{3})?$|^[a-z]{3,20}$/i;
/** Elements within one another. Deeper ones are left out, and what they hold stays. */
const MAX_DEPTH = 50;
/** Characters of a message that are shown. */
const MAX_LENGTH = 10_000;
const LINK = /\bhttps?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]]/g;

/** Text of a message as HTML: its addresses become links, its lines lines. */
export function htmlOfText(text: string): SafeHtml {
  const short = text.slice(0, MAX_LENGTH);
  let html = '';
  let last = 0;
  for (const { 0: url, index } of short.matchAll(LINK)) {
    html += `${escapeHtml(short.slice(last, index))}<a href="${escapeHtml(url)}">${escapeHtml(url)}</a>`;
    last = index + url.length;
  }
  html += escapeHtml(short.slice(last));
  return new SafeHtml(html.replace(/\r?\n/g, '<br>'));
}

/** HTML of a message with nothing left in it but plain elements: no scripts, styles, pictures, or links that do things. */
export function cleanHtml(html: string): SafeHtml {
  let out = '';
  /** The open elements; undefined for those that are left out themselves. */
  const open: (string | undefined)[] = [];
  const names: string[] = [];
  let skipping = 0;
  if (parsers === undefined) throw new TypeError('prepareHtml comes first');
  const parser = new parsers.Parser(
    {
      onopentag: (name, attributes) => {
        const isOut = LEFT_OUT.has(name);
        if (isOut) skipping += 1;
        const isShown = skipping === 0 && ELEMENTS.has(name) && open.length < MAX_DEPTH;
        names.push(name);
        open.push(isShown && !VOID.has(name) ? name : undefined);
        if (isShown) out += `<${name}${attributesOf(name, attributes)}>`;
      },
      ontext: (text) => {
        if (skipping === 0) out += escapeHtml(text);
      },
      onclosetag: () => {
        const name = names.pop();
        const shown = open.pop();
        if (name !== undefined && LEFT_OUT.has(name)) skipping -= 1;
        if (shown !== undefined) out += `</${shown}>`;
      },
    },
    { decodeEntities: true, lowerCaseTags: true, lowerCaseAttributeNames: true },
  );
  parser.write(html.slice(0, MAX_LENGTH));
  parser.end();
  return new SafeHtml(out);
}

function attributesOf(name: string, attributes: Readonly<Record<string, string>>): string {
  const { href, color } = attributes;
  if (name === 'a' && href !== undefined && /^(?:https?|mailto|matrix):/i.test(href.trim())) {
    return ` href="${escapeHtml(href.trim())}"`;
  }
  return name === 'font' && color !== undefined && COLOR.test(color) ? ` color="${color}"` : '';
}

export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
