/** A page of the interface, opened for one story. */
import assert from 'node:assert/strict';
import type { Locator } from 'playwright-core';
import type { Look, Onlooker, View } from '../browser.ts';
import { FakeHouse } from '../fake-house.ts';

type Changes = NonNullable<Parameters<typeof FakeHouse.start>[0]>;

/** A house and somebody who looks at one of its pages. */
export class Visit implements AsyncDisposable {
  readonly house: FakeHouse;
  readonly view: View;

  private constructor(house: FakeHouse, view: View) {
    this.house = house;
    this.view = view;
  }

  static async start(onlooker: Onlooker, place: string, changes: Changes = {}, look: Look = {}): Promise<Visit> {
    const house = await FakeHouse.start(changes);
    const view = await onlooker.open(house.link(), look);
    const visit = new Visit(house, view);
    await view.heading('Status');
    await visit.goTo(place);
    return visit;
  }

  async goTo(place: string): Promise<void> {
    await this.view.page.goto(`${this.house.url}/#/${place}`);
    await this.view.settled();
  }

  get dialog(): Locator {
    return this.view.page.getByRole('dialog');
  }

  /** A row of a table, by what it says. */
  row(words: string | RegExp): Locator {
    return this.view.page.getByRole('row').filter({ hasText: words });
  }

  /** Opens the menu of a row and chooses from it. */
  async choose(menu: string | RegExp, action: string): Promise<void> {
    await this.view.button(menu).click();
    await this.view.page.getByRole('menuitem', { name: action, exact: true }).click();
  }

  async chooseFrom(label: string, option: string): Promise<void> {
    await this.view.button(new RegExp(`${label}$`)).click();
    await this.view.page.getByRole('option', { name: option, exact: true }).click();
  }

  async said(sentence: string | RegExp): Promise<void> {
    await this.view.page.locator('.toasts').getByText(sentence).waitFor();
  }

  async shows(words: string | RegExp): Promise<void> {
    await this.view.page.getByText(words).first().waitFor();
  }

  /** The bodies of the calls that came, of one method and path. */
  sent(call: string): unknown[] {
    return this.house.seen.filter((each) => each.call === call).map(({ body }) => body);
  }

  /** Fails where a call of that kind came. */
  assertNotSent(call: string): void {
    assert.deepEqual(this.sent(call), [], `nothing was asked for by ${call}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.view[Symbol.asyncDispose]();
    } finally {
      await this.house[Symbol.asyncDispose]();
    }
  }
}

/** Answers for which nothing is there yet. */
export const nothingYet: Changes = {
  'GET /people': { people: [], total: 0, counts: { person: 0, guest: 0, bridged: 0 } },
  'GET /invitations': { invitations: [] },
  'GET /stranger-invites': { invites: [] },
  'GET /rooms': { rooms: [], total: 0 },
  'GET /media': { media: [], total: 0 },
  'GET /media/summary': {
    local: { files: 0, bytes: 0 },
    remote: { files: 0, bytes: 0 },
    thumbnails: { files: 0, bytes: 0 },
    freeBytes: 1e11,
  },
  'GET /calls': {
    settings: { uris: [], lifetimeSeconds: 3600, allowGuests: true, hasSharedSecret: false, hasPassword: false },
  },
  'GET /backups': {
    directory: '/srv/backups',
    schedule: { every: 'never', atHour: 3, keep: 7, media: true, hasPassphrase: false },
    backups: [],
    freeBytes: 1e9,
    estimateBytes: 2e9,
    lastFailure: { at: Date.now() - 7_200_000, error: 'The disk was full.' },
  },
  'GET /logs': { lines: [] },
};
