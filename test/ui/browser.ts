/**
 * A real Chromium that looks at the interface: the one from npm, so that nothing has to be installed for it.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import axe from 'axe-core';
import { chromium, type Browser, type BrowserContext, type Locator, type Page } from 'playwright-core';
import { buildPages, builtInto, isStale } from '../../build/renderer.ts';

const root = join(import.meta.dirname, '..', '..');
/** Where pictures of the pages are written to. */
export const screenshots = join(root, 'build', 'screenshots');

const packageFile = join(root, 'node_modules', '@sparticuz', 'chromium', 'package.json');

export interface Look {
  readonly theme?: 'light' | 'dark';
  readonly size?: 'desktop' | 'phone' | 'narrow';
}

const SIZES = {
  desktop: { width: 1280, height: 860 },
  phone: { width: 390, height: 844 },
  narrow: { width: 320, height: 640 },
} as const;

/** What every page is looked at in. */
export const LOOKS: readonly Required<Look>[] = [
  { theme: 'light', size: 'desktop' },
  { theme: 'dark', size: 'desktop' },
  { theme: 'light', size: 'phone' },
  { theme: 'dark', size: 'narrow' },
];

/** The browser, shared by the stories of a test file. */
export class Onlooker implements AsyncDisposable {
  readonly #browser: Browser;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async start(): Promise<Onlooker> {
    const place = await unpackChromium();
    await takingTurns('pages', async () => {
      if (isStale()) await buildPages();
    });
    // Pages of this project alone are opened, and where tests run there may be no user to sandbox for.
    return new Onlooker(
      await chromium.launch({
        executablePath: join(place, 'chromium'),
        env: {
          ...process.env,
          LD_LIBRARY_PATH: join(place, 'al2023', 'lib'),
          ...(existsSync('/etc/fonts') ? {} : { FONTCONFIG_PATH: join(place, 'fonts') }),
        },
        args: ['--no-sandbox', '--disable-gpu', '--font-render-hinting=none', '--disable-dev-shm-usage'],
      }),
    );
  }

  /** A page of its own, with nothing remembered. What goes wrong in it fails the test that closes it. */
  async open(url: string, look: Look = {}): Promise<View> {
    const context = await this.#browser.newContext({
      viewport: SIZES[look.size ?? 'desktop'],
      colorScheme: look.theme ?? 'light',
      reducedMotion: 'reduce',
      locale: 'en-GB',
      timezoneId: 'Europe/Berlin',
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    const page = await context.newPage();
    page.setDefaultTimeout(45_000);
    const view = new View(context, page);
    await page.goto(url);
    return view;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}

export class View implements AsyncDisposable {
  readonly page: Page;
  readonly #context: BrowserContext;
  readonly #faults: string[] = [];

  constructor(context: BrowserContext, page: Page) {
    this.#context = context;
    this.page = page;
    page.on('pageerror', (error) => this.#faults.push(error.message));
    page.on('console', (message) => {
      // What the server refuses, and that it is gone, is the story of some tests; the page says so itself.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
        this.#faults.push(message.text());
    });
  }

  /** The heading of the page, once it is there. */
  async heading(name: string): Promise<Locator> {
    const heading = this.page.getByRole('heading', { level: 1, name });
    await heading.waitFor();
    return heading;
  }

  /** Waits until the page is there and nothing of it is still being read. */
  async settled(): Promise<void> {
    await this.page.getByRole('heading', { level: 1 }).waitFor();
    await this.page.locator('.skeleton').first().waitFor({ state: 'hidden' });
  }

  button(name: string | RegExp): Locator {
    return this.page.getByRole('button', { name, ...(typeof name === 'string' ? { exact: true } : {}) });
  }

  field(name: string | RegExp): Locator {
    return this.page.getByLabel(name, typeof name === 'string' ? { exact: true } : {});
  }

  /** Goes on by the Tab key until the keyboard is at what is named so, as somebody without a mouse does. */
  async tabTo(name: string | RegExp, role: 'button' | 'textbox' | 'radio' | 'link' | 'tab' = 'button'): Promise<void> {
    const wanted = this.page.getByRole(role, { name, ...(typeof name === 'string' ? { exact: true } : {}) });
    await wanted.first().waitFor();
    for (let tries = 0; tries < 60; tries += 1) {
      if (await wanted.evaluateAll((all) => all.some((each) => each === document.activeElement))) return;
      await this.page.keyboard.press('Tab');
    }
    assert.fail(`the keyboard does not get to ${String(name)}`);
  }

  /** Writes a picture of the whole page, for people to look at. */
  async picture(name: string): Promise<void> {
    mkdirSync(screenshots, { recursive: true });
    // What lies over the page stays where the screen is.
    const fullPage = (await this.page.getByRole('dialog').count()) === 0;
    await this.page.screenshot({ path: join(screenshots, `${name}.png`), fullPage });
  }

  /** Fails where axe-core finds what keeps people out, or something is wider than the screen. */
  async assertAccessible(): Promise<void> {
    // Not as a script of the page, which lets in none but its own.
    await this.page.evaluate(axe.source);
    const violations = await this.page.evaluate(async () => {
      const { axe: inPage } = globalThis as unknown as {
        axe: { run(context: object): Promise<{ violations: AxeViolation[] }> };
      };
      // What was read out remains there for some seconds, and may name a button that is gone by then.
      const context = { exclude: ['[data-live-announcer]'] };
      return (await inPage.run(context)).violations.map(({ id, help, nodes }) => ({
        id,
        help,
        at: nodes.map(({ html, failureSummary }) => `${html}: ${failureSummary}`),
      }));
    });
    assert.deepEqual(violations, []);
    const overhang = await this.page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    assert.equal(overhang, 0, 'the page is as wide as the screen');
  }

  /**
   * Makes the words about half as long again, as they are in other languages, and fails where the page has no room for
   * them. The page is of no use afterwards.
   */
  async assertRoomForLongWords(): Promise<void> {
    const overhang = await this.page.evaluate(() => {
      const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      while (texts.nextNode() !== null) {
        const node = texts.currentNode;
        if (node.parentElement?.closest('code, pre') === null)
          node.nodeValue = (node.nodeValue ?? '').replaceAll(/[aeiou]/g, '$&$&');
      }
      return document.documentElement.scrollWidth - document.documentElement.clientWidth;
    });
    assert.equal(overhang, 0, 'there is room for longer words');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#context.close();
    assert.deepEqual(this.#faults, [], 'nothing went wrong in the page');
  }
}

interface AxeViolation {
  readonly id: string;
  readonly help: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
}

/** Unpacks the browser once for all tests, with the libraries it needs, and gives the folder it lies in. */
async function unpackChromium(): Promise<string> {
  const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };
  const place = join(tmpdir(), `hearth-chromium-${version}`);
  await takingTurns('browser', async () => {
    if (existsSync(join(place, 'al2023'))) return;
    const fresh = mkdtempSync(`${place}-`);
    const packed = import.meta.resolve('@sparticuz/chromium');
    const unpack = `(await import(${JSON.stringify(packed)})).default.executablePath()`;
    // It unpacks to the system's temporary folder, and its libraries only where it believes to be on Amazon's machines.
    const env = { ...process.env, TMPDIR: fresh, AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x' };
    await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', unpack], { env });
    rmSync(place, { recursive: true, force: true });
    renameSync(fresh, place);
  });
  return place;
}

const TURN_EVERY_MS = 100;

/** Lets one process at a time do something; those that come later find it done. */
async function takingTurns(name: string, work: () => Promise<void>): Promise<void> {
  const lock = join(tmpdir(), `hearth-test-${name}.lock`);
  while (!take(lock)) await pause(TURN_EVERY_MS);
  try {
    await work();
  } finally {
    rmSync(lock, { force: true });
  }
}

function take(lock: string): boolean {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' });
    return true;
  } catch {
    try {
      process.kill(Number(readFileSync(lock, 'utf8')), 0);
    } catch {
      // Whoever held it is no more.
      rmSync(lock, { force: true });
    }
    return false;
  }
}

/** Where the built interface lies, for the server that shows it. */
export const pages = builtInto;
