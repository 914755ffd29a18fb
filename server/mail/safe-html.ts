/** HTML that may stand in a page as it is: whoever makes one vouches for that. */
export class SafeHtml {
  readonly html: string;

  constructor(html: string) {
    this.html = html;
  }
}
