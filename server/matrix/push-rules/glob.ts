/**
 * Glob patterns (spec: appendices, "Glob-style matching"), without regard to case. Written by hand rather than turned into
 * regular expressions, which take exponential or at least quadratic time over some pairs of pattern and text; anyone may
 * choose the text, and here the time is at most the product of both lengths.
 */

/** A pattern made ready for many texts. */
export interface Glob {
  /** Whether the pattern covers `lowered`, a text in lower case, from end to end. */
  matchesWhole(lowered: string): boolean;
  /** Whether the pattern covers a part of `lowered` that begins and ends at word boundaries. */
  matchesWords(lowered: string): boolean;
}

/** Makes a glob pattern ready: `*` stands for any characters or none, `?` for exactly one. */
export function compileGlob(pattern: string): Glob {
  return new PieceGlob(foldCase(pattern).split('*'));
}

/** A pattern that stands for itself, wildcards and all. */
export function compileLiteral(text: string): Glob {
  return new PieceGlob([foldCase(text)], false);
}

/** Lower case, as both sides of a comparison without regard to case must be given. */
export function foldCase(text: string): string {
  return text.toLowerCase();
}

class PieceGlob implements Glob {
  /** What stands between the asterisks; one piece where there is none. */
  private readonly pieces: readonly Piece[];

  constructor(pieces: readonly string[], wildcards = true) {
    this.pieces = pieces.map((text) => new Piece(text, wildcards));
  }

  matchesWhole(lowered: string): boolean {
    return this.matches(
      lowered,
      (start) => start === 0,
      (end) => end === lowered.length,
    );
  }

  matchesWords(lowered: string): boolean {
    const atBoundary = (index: number): boolean => isBoundary(lowered, index);
    return this.matches(lowered, atBoundary, atBoundary);
  }

  private matches(text: string, mayStart: (index: number) => boolean, mayEnd: (index: number) => boolean): boolean {
    const first = this.pieces[0];
    const last = this.pieces.at(-1);
    if (first === undefined || last === undefined) return false;
    if (this.pieces.length === 1) return first.findIn(text, 0, mayStart, mayEnd) !== undefined;
    // An asterisk takes up whatever lies between two pieces, so the leftmost place for each leaves most to the rest.
    let from = first.findIn(text, 0, mayStart, anywhere);
    for (const piece of this.pieces.slice(1, -1)) {
      if (from === undefined) return false;
      from = piece.findIn(text, from, anywhere, anywhere);
    }
    return from !== undefined && last.findIn(text, from, anywhere, mayEnd) !== undefined;
  }
}

const anywhere = (): boolean => true;

class Piece {
  private readonly text: string;
  private readonly hasWildcards: boolean;

  constructor(text: string, wildcards: boolean) {
    this.text = text;
    this.hasWildcards = wildcards && text.includes('?');
  }

  /** Where the leftmost match that begins at `from` or later ends; undefined where there is none. */
  findIn(
    text: string,
    from: number,
    mayStart: (index: number) => boolean,
    mayEnd: (index: number) => boolean,
  ): number | undefined {
    for (let start = from; start <= text.length; start++) {
      if (!this.hasWildcards) {
        start = text.indexOf(this.text, start);
        if (start === -1) return undefined;
      }
      if (!mayStart(start)) continue;
      const end = this.endOfMatch(text, start);
      if (end !== undefined && mayEnd(end)) return end;
    }
    return undefined;
  }

  private endOfMatch(text: string, start: number): number | undefined {
    if (!this.hasWildcards) return start + this.text.length;
    let at = start;
    for (let i = 0; i < this.text.length; i++) {
      if (at >= text.length) return undefined;
      const expected = this.text.charCodeAt(i);
      if (expected === 0x3f) {
        // One character is one code point, which may take two code units.
        at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
      } else if (text.charCodeAt(at) === expected) {
        at++;
      } else {
        return undefined;
      }
    }
    return at;
  }
}

/** Whether a word may begin or end at `index`: at either end of the text, or next to what is no letter, digit or "_". */
function isBoundary(text: string, index: number): boolean {
  return index === 0 || index === text.length || !isWord(text.charCodeAt(index - 1)) || !isWord(text.charCodeAt(index));
}

function isWord(unit: number): boolean {
  return (unit >= 0x61 && unit <= 0x7a) || (unit >= 0x30 && unit <= 0x39) || unit === 0x5f;
}
