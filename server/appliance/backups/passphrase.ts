import { refusal } from './refusal.ts';

const MIN_LENGTH = 8;

/** Throws a refusal for a new passphrase that is too easily guessed. */
export function checkNewPassphrase(passphrase: string): void {
  if (passphrase.length >= MIN_LENGTH) return;
  throw refusal(`The passphrase needs at least ${MIN_LENGTH} characters; a few words are better`, {
    field: 'passphrase',
  });
}
