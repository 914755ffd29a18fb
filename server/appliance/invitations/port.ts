/** A token that lets somebody make an account here. Times in ms since the epoch. */
export interface InvitationToken {
  readonly token: string;
  readonly note: string | undefined;
  /** Undefined: any number. */
  readonly usesAllowed: number | undefined;
  readonly used: number;
  readonly expiresMs: number | undefined;
  readonly createdMs: number;
}

/** Who may come though registration is closed. Changes are on disk when they resolve. */
export interface InvitationsPort {
  list(): readonly InvitationToken[];
  /** Throws M_INVALID_PARAM for a time of expiry that is over. */
  create(order: {
    readonly note: string | undefined;
    readonly uses: number;
    readonly expiresMs: number | undefined;
  }): Promise<InvitationToken>;
  /** Throws M_NOT_FOUND. */
  remove(token: string): Promise<void>;
  /** Path and query of the page on which the token is used. */
  pathOf(token: string): string;
}
