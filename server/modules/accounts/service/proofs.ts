import type { JsonObject } from '../../../matrix/json.ts';
import type { UserId } from '../../../matrix/identifiers.ts';
import type { WriteTx } from '../../../storage/types.ts';

/** An address that somebody has proved to be theirs. */
export interface ProvedAddress {
  /** The session it was proved in. */
  readonly sid: string;
  readonly medium: 'email' | 'msisdn';
  /** In its canonical form. */
  readonly address: string;
  readonly validatedMs: number;
}

/** Addresses, as far as they prove who somebody is. */
export interface Threepids {
  /** Whether this server can verify such addresses. */
  canVerify(medium: 'email' | 'msisdn'): boolean;
  /** What a session has proved; undefined if nothing, or for another end. Throws M_THREEPID_DENIED, M_INVALID_PARAM. */
  findValidated(
    purpose: 'register' | 'password',
    medium: 'email' | 'msisdn',
    sid: string,
    clientSecret: string,
  ): Promise<ProvedAddress | undefined>;
  findOwner(medium: string, address: string): UserId | undefined;
  /** Gives a new account its address; the session is spent. Throws M_THREEPID_IN_USE. */
  add(tx: WriteTx, userId: UserId, proved: ProvedAddress): void;
  spend(tx: WriteTx, sid: string): void;
  /** Has identity servers forget a user's addresses; whether all did. */
  unbindAll(userId: UserId, idServer: string | undefined): Promise<boolean>;
}

/** A puzzle for people, from a service elsewhere. */
export interface Captcha {
  readonly publicKey: string;
  /** Whether newcomers have to solve one. */
  readonly required: boolean;
  /** Whether the service confirms that it was solved. Throws M_UNKNOWN (502) where it cannot be asked. */
  verify(response: string, ip: string): Promise<boolean>;
}

/** A policy that newcomers have to agree to. */
export interface Terms {
  /** As the stage's parameters tell it (spec: "Terms of service at registration"). */
  readonly params: JsonObject;
  /** Where it can be read. */
  readonly url: string;
  /** A new user has agreed. */
  agreed(tx: WriteTx, userId: UserId): void;
}

/** What this server can ask of people besides passwords and tokens; what is absent is never asked. */
export interface Proofs {
  readonly threepids?: Threepids;
  readonly captcha?: Captcha;
  readonly terms?: Terms;
}
