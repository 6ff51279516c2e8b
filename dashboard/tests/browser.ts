/** A browser that trusts nobody: each page is watched for requests elsewhere, for what its policy forbids, and for errors. */
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

import { type Browser, type BrowserContext, type Page, chromium } from "playwright-core";

import { expect } from "./check";
import { base, token } from "./platform";

const CHROMIUM = process.env["SKEP_CHROMIUM"] ?? "/usr/bin/chromium";
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const WIDE = { width: 1280, height: 800 };
export const NARROW = { width: 375, height: 740 };

export interface Look {
  size: { width: number; height: number };
  theme: "light" | "dark";
}

let browser: Browser | undefined;

export async function launch(): Promise<void> {
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

export async function close(): Promise<void> {
  await browser?.close();
}

/** What a page did that it should not. */
export class Watched {
  readonly wrongs: string[] = [];

  constructor(readonly page: Page) {
    const own = new URL(base).host;
    const elsewhere = (url: string): void => {
      if (!/^(data|blob|about):/.test(url) && new URL(url).host !== own) this.wrongs.push(`a request to ${url}`);
    };
    page.on("request", (request) => elsewhere(request.url()));
    page.on("websocket", (socket) => elsewhere(socket.url()));
    page.on("pageerror", (error) => this.wrongs.push(`an error: ${error.message}`));
    page.on("dialog", (dialog) => {
      this.wrongs.push(`a script of somebody else: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("console", (message) => {
      const text = message.text();
      if (text.startsWith("violation:") || /Content Security Policy|Refused to/.test(text)) this.wrongs.push(text);
    });
  }

  check(): void {
    expect(this.wrongs.length === 0, this.wrongs.join("\n      "));
  }
}

interface ContextOptions extends Partial<Look> {
  bypassCSP?: boolean;
}

export async function context({
  size = WIDE,
  theme = "light",
  bypassCSP = false,
}: ContextOptions = {}): Promise<BrowserContext> {
  expect(browser !== undefined, "the browser runs");
  const made = await browser.newContext({
    viewport: size,
    colorScheme: theme,
    bypassCSP,
    reducedMotion: "reduce",
    permissions: [],
  });
  await made.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`violation: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  return made;
}

/** Runs with a page that is signed in. What the page did is checked in the end. */
export async function signedIn(options: ContextOptions, work: (page: Page) => Promise<void>): Promise<void> {
  await visitor(options, async (page) => {
    await page.goto(`${base}/dashboard/`);
    await signIn(page);
    await work(page);
  });
}

export async function visitor(options: ContextOptions, work: (page: Page) => Promise<void>): Promise<void> {
  const made = await context(options);
  try {
    const page = await made.newPage();
    const watched = new Watched(page);
    await work(page);
    watched.check();
  } finally {
    await made.close();
  }
}

export async function signIn(page: Page): Promise<void> {
  await page.getByLabel("API token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page
    .getByRole("button", { name: "Sign out" })
    .or(page.getByRole("button", { name: "Menu" }))
    .first()
    .waitFor();
}

interface Result {
  violations: { id: string; impact: string | null; nodes: { html: string; failureSummary?: string }[] }[];
}

/** Nothing that keeps people out, as far as a program can tell: <https://github.com/dequelabs/axe-core> */
export async function accessible(page: Page, what: string): Promise<void> {
  await page.evaluate(axe);
  const result = await page.evaluate<Result>("axe.run(document, { resultTypes: ['violations'] })");
  const found = result.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical" || impact === "moderate")
    .map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary ?? ""}`).join(" | ")}`);
  expect(found.length === 0, `${what}: ${found.join("\n      ")}`);
}

/** The page is not wider than the screen. */
export async function fits(page: Page, what: string): Promise<void> {
  const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth] as const);
  expect(wide <= screen, `${what} is ${wide} px wide on a screen of ${screen} px`);
}
