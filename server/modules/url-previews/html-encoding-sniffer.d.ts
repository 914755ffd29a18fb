declare module 'html-encoding-sniffer' {
  /** The name of the encoding a document is in, by its first bytes and what its server said. */
  export default function sniff(
    bytes: Uint8Array,
    options?: {
      readonly xml?: boolean;
      readonly transportLayerEncodingLabel?: string;
      readonly defaultEncoding?: string;
    },
  ): string;
}
