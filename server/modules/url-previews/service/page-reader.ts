import type { Parser } from 'htmlparser2';

/** What a page says of itself, as far as a preview can use it. */
export interface PageFacts {
  /** Open Graph and Twitter card, by their names with the prefix; the first of each counts. */
  readonly openGraph: ReadonlyMap<string, string>;
  readonly twitter: ReadonlyMap<string, string>;
  readonly title: string | undefined;
  readonly heading: string | undefined;
  /** What is there for search engines. */
  readonly description: string | undefined;
  /** The beginning of what is there to be read. */
  readonly paragraphs: readonly string[];
  /** Addresses as they are written, the best guess first: microdata, the largest picture, the first one, the site's own sign. */
  readonly pictures: readonly string[];
  /** Where something moves, as it is written. */
  readonly player: string | undefined;
  /** Where the page is described in the oEmbed format, as it is written. */
  readonly oembed: string | undefined;
  /** What addresses in the page start from, as it is written. */
  readonly base: string | undefined;
}

/** Deeper ones are no pages; closing a tag costs time by how deep it is. */
const MAX_DEPTH = 256;
const MAX_ATTRIBUTES = 400;
/** More than any preview shows, characters. */
const MAX_TEXT = 2_000;
const MAX_ADDRESS = 8_192;
/** Of tags that become part of the preview; a page with more is up to something. */
const MAX_TAGS = 200;
/** So much of a page's text makes a description, characters. */
const ENOUGH_TEXT = 200;
/** Smaller ones are there to count visitors, pixels. */
const MIN_SIDE = 10;

/** Elements that can only be in the head of a page; with any other the body has begun. */
const HEAD_TAGS = new Set(['html', 'head', 'title', 'meta', 'link', 'script', 'style', 'base', 'noscript', 'template']);
/** What is in them is not what the page is about. */
const SKIPPED = new Set(
  (
    'header nav aside footer script noscript style svg math iframe video audio canvas picture object template select ' +
    'textarea button dialog'
  ).split(' '),
);
/** Whatever else only marks some words of a paragraph. */
const INLINE = new Set(
  (
    'a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark q rp rt ruby s samp small span ' +
    'strike strong sub sup time tt u var wbr'
  ).split(' '),
);

/** Thrown by a reader that has seen enough. */
const ENOUGH = Symbol('enough');

/** Reads a page as it comes, keeping no more of it than a preview can use. */
export class PageReader {
  readonly #parser: Parser;
  readonly #openGraph = new Map<string, string>();
  readonly #twitter = new Map<string, string>();
  readonly #paragraphs: string[] = [];
  readonly #texts: { title?: string; heading?: string } = {};
  /** Which of them is being read, and how deep its element lies. */
  #text: { readonly kind: 'title' | 'heading'; readonly depth: number } | undefined;
  #description: string | undefined;
  #microdata: string | undefined;
  #largest: { readonly address: string; readonly area: number } | undefined;
  #firstPicture: string | undefined;
  #icon: string | undefined;
  #player: string | undefined;
  #oembed: string | undefined;
  #base: string | undefined;
  #depth = 0;
  #attributes = 0;
  #isInHead = false;
  /** How deep the outermost skipped element lies; 0 outside of any. */
  #skippedAt = 0;
  #line = '';
  #textLength = 0;
  #isOver = false;

  private constructor(ParserClass: typeof Parser) {
    this.#parser = new ParserClass(
      {
        onopentagname: () => {
          this.#attributes = 0;
        },
        onattribute: () => {
          this.#attributes += 1;
          if (this.#attributes > MAX_ATTRIBUTES) throw ENOUGH;
        },
        onopentag: (name, attributes) => this.#opened(name, attributes),
        onclosetag: (name) => this.#closed(name),
        ontext: (text) => this.#read(text),
      },
      { decodeEntities: true },
    );
  }

  static async create(): Promise<PageReader> {
    // Most servers never come to read a page: they need not load what reads it.
    return new PageReader((await import('htmlparser2')).Parser);
  }

  /** Whether whatever comes makes no difference any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Takes the next piece; a small one, since it is read at one stretch. */
  write(text: string): void {
    this.#guarded(() => this.#parser.write(text));
  }

  end(): PageFacts {
    this.#guarded(() => this.#parser.end());
    this.#endLine();
    const pictures = [this.#microdata, this.#largest?.address, this.#firstPicture, this.#icon];
    return {
      openGraph: this.#openGraph,
      twitter: this.#twitter,
      title: tidy(this.#texts.title),
      heading: tidy(this.#texts.heading),
      description: tidy(this.#description),
      paragraphs: this.#paragraphs,
      pictures: pictures.filter((picture) => picture !== undefined),
      player: this.#player,
      oembed: this.#oembed,
      base: this.#base,
    };
  }

  #guarded(work: () => void): void {
    if (this.#isOver) return;
    try {
      work();
    } catch (error) {
      if (error !== ENOUGH) throw error;
      this.#isOver = true;
    }
  }

  #opened(name: string, attributes: Readonly<Record<string, string | undefined>>): void {
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) throw ENOUGH;
    if (name === 'head') this.#isInHead = true;
    else if (!HEAD_TAGS.has(name)) this.#isInHead = false;
    const isSkipped = this.#skippedAt > 0;
    if (!isSkipped && SKIPPED.has(name)) this.#skippedAt = this.#depth;
    if (!INLINE.has(name)) this.#endLine();

    const itemprop = attributes['itemprop'];
    if (itemprop?.toLowerCase() === 'image') this.#microdata ??= address(attributes['content'] ?? attributes['src']);
    switch (name) {
      case 'meta':
        return this.#meta(attributes);
      case 'link':
        return this.#link(attributes);
      case 'base':
        this.#base ??= address(attributes['href']);
        return;
      case 'img':
        return this.#picture(attributes);
      case 'iframe':
      case 'video':
      case 'embed':
        this.#player ??= address(attributes['src']);
        return;
      case 'title':
        return isSkipped ? undefined : this.#beginText('title');
      case 'h1':
      case 'h2':
      case 'h3':
        return isSkipped ? undefined : this.#beginText('heading');
    }
  }

  #closed(name: string): void {
    if (this.#text?.depth === this.#depth) this.#text = undefined;
    if (this.#skippedAt === this.#depth) this.#skippedAt = 0;
    if (name === 'head') this.#isInHead = false;
    if (!INLINE.has(name)) this.#endLine();
    this.#depth -= 1;
  }

  #meta(attributes: Readonly<Record<string, string | undefined>>): void {
    const { content = '' } = attributes;
    if (content === '' || content.length > MAX_ADDRESS) return;
    // Each is written with either attribute, whatever its standard says.
    for (const name of new Set([attributes['property'], attributes['name']])) {
      const key = name?.trim().toLowerCase() ?? '';
      if (key.startsWith('og:')) this.#keep(this.#openGraph, key, content);
      else if (key.startsWith('twitter:')) this.#keep(this.#twitter, key, content);
      else if (key === 'description') this.#description ??= content;
    }
  }

  #keep(tags: Map<string, string>, key: string, content: string): void {
    if (!tags.has(key) && tags.size < MAX_TAGS) tags.set(key, content);
  }

  #link(attributes: Readonly<Record<string, string | undefined>>): void {
    const relations = attributes['rel']?.toLowerCase().split(/\s+/, 8) ?? [];
    const type = attributes['type']?.trim().toLowerCase();
    if (relations.includes('alternate') && type === 'application/json+oembed') {
      this.#oembed ??= address(attributes['href']);
    }
    if (relations.includes('icon') || relations.includes('apple-touch-icon')) {
      this.#icon ??= address(attributes['href']);
    }
  }

  #picture(attributes: Readonly<Record<string, string | undefined>>): void {
    const source = address(attributes['src']);
    // Until scripts put the picture itself in its place, pages show an empty one of their own.
    if (source === undefined || /^data:/i.test(source)) return;
    this.#firstPicture ??= source;
    const [width, height] = [sideOf(attributes['width']), sideOf(attributes['height'])];
    if (width <= MIN_SIDE || height <= MIN_SIDE) return;
    const area = width * height;
    if (area > (this.#largest?.area ?? 0)) this.#largest = { address: source, area };
  }

  #beginText(kind: 'title' | 'heading'): void {
    if (this.#text === undefined && tidy(this.#texts[kind]) === undefined) {
      this.#text = { kind, depth: this.#depth };
    }
  }

  #read(text: string): void {
    if (this.#text !== undefined) {
      const { kind } = this.#text;
      const known = this.#texts[kind] ?? '';
      if (known.length < MAX_TEXT) this.#texts[kind] = known + text.slice(0, MAX_TEXT);
      if (kind === 'title') return;
    }
    if (this.#isInHead || this.#skippedAt > 0 || this.#textLength >= ENOUGH_TEXT) return;
    if (this.#line.length < MAX_TEXT) this.#line += text.slice(0, MAX_TEXT);
  }

  #endLine(): void {
    if (this.#line === '') return;
    const line = tidy(this.#line);
    this.#line = '';
    if (line === undefined) return;
    this.#paragraphs.push(line);
    this.#textLength += line.length;
  }
}

/** Text with single spaces; undefined where nothing is left. */
function tidy(text: string | undefined): string | undefined {
  const tidied = text?.replaceAll(/\s+/g, ' ').trim();
  return tidied === '' ? undefined : tidied;
}

function address(text: string | undefined): string | undefined {
  const trimmed = text?.trim() ?? '';
  return trimmed === '' || trimmed.length > MAX_ADDRESS ? undefined : trimmed;
}

function sideOf(text: string | undefined): number {
  return /^\d{1,5}(?:px)?$/.test(text ?? '') ? Number.parseInt(text ?? '', 10) : 0;
}
