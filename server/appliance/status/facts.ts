/** What the configuration says that the state of the server is judged by. */
export interface ServerFacts {
  readonly serverName: string;
  /** Whether it deals with other servers at all. */
  readonly federates: boolean;
  /** Set where a listener speaks TLS, and its certificate is a file here. */
  readonly certificateFile: string | undefined;
  readonly databaseFile: string;
}
