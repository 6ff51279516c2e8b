/** Every page on every screen: it fits, keeps nobody out, and looks as its picture. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";

import type { Page } from "playwright-core";

import { type Look, NARROW, WIDE, accessible, fits, signIn, signedIn, visitor } from "./browser";
import type { Test } from "./check";
import { base, pictures, visit, worker } from "./platform";

interface Shown {
  name: string;
  path: string;
  ready: (page: Page) => Promise<void>;
}

const of = (part: string): string => `workers/${worker}${part}`;
const cell = (name: string) => (page: Page) => page.getByRole("cell", { name }).first().waitFor();

const PAGES: readonly Shown[] = [
  { name: "overview", path: "", ready: (page) => page.getByRole("link", { name: worker, exact: true }).waitFor() },
  { name: "live", path: of(""), ready: (page) => page.getByRole("img", { name: /Duration/ }).waitFor() },
  {
    name: "tail",
    path: of("/tail"),
    ready: async (page) => {
      await page.getByText("Watching", { exact: true }).waitFor();
      for (const visited of ["/", "/cart", "/missing", "/boom"]) await visit(worker, visited);
      await page.locator(".event").nth(3).waitFor();
      await page.locator(".event button").first().click();
      await page.locator(".event.open .line").first().waitFor();
    },
  },
  { name: "logs", path: of("/logs"), ready: (page) => page.locator(".event").first().waitFor() },
  { name: "versions", path: of("/versions"), ready: cell("100 %") },
  { name: "settings", path: of("/settings"), ready: cell("GREETING") },
  { name: "secrets", path: of("/secrets"), ready: (page) => page.getByText("No secrets").waitFor() },
  { name: "routes", path: of("/routes"), ready: (page) => page.getByText("No custom domains").waitFor() },
  { name: "crons", path: of("/crons"), ready: cell("*/5 * * * *") },
  { name: "usage", path: "usage", ready: (page) => page.locator(".sentence").waitFor() },
  { name: "nodes", path: "nodes", ready: (page) => page.getByText("Last heard of").first().waitFor() },
  { name: "tokens", path: "tokens", ready: cell("admin") },
  { name: "audit", path: "audit", ready: cell("worker.deploy") },
  { name: "nothing", path: "no/such/page", ready: (page) => page.getByText("There is no such page").waitFor() },
];

/** Pictures that the documentation shows. */
const SHOWN: Readonly<Record<string, readonly string[]>> = {
  "1280-light": ["overview", "promotion", "usage"],
  "1280-dark": ["tail"],
  "375-dark": ["overview"],
};

export async function picture(page: Page, name: string, look: string): Promise<void> {
  if (pictures === undefined) return;
  const everything = process.env["SKEP_ALL_SCREENSHOTS"] === "1";
  if (!everything && SHOWN[look]?.includes(name) !== true) return;
  mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: join(pictures, `${name}-${look}.png`), fullPage: everything });
}

function test(look: Look): Test {
  const name = `${look.size.width}-${look.theme}`;
  return {
    name: `every page fits and keeps nobody out: ${name}`,
    run: async () => {
      await visitor({ ...look, bypassCSP: true }, async (page) => {
        await page.goto(`${base}/dashboard/`);
        await page.getByLabel("API token").waitFor();
        await accessible(page, `sign-in ${name}`);
        await fits(page, `sign-in ${name}`);
        await picture(page, "sign-in", name);
        await signIn(page);
        for (const { name: shown, path, ready } of PAGES) {
          await page.goto(`${base}/dashboard/${path}`);
          await ready(page);
          await fits(page, `${shown} ${name}`);
          await accessible(page, `${shown} ${name}`);
          await picture(page, shown, name);
        }
        await page.goto(`${base}/dashboard/tokens`);
        await page.getByRole("button", { name: "Create a token" }).click();
        await page.getByRole("dialog").waitFor();
        await accessible(page, `dialog ${name}`);
        await fits(page, `dialog ${name}`);
        await picture(page, "dialog", name);
      });
    },
  };
}

export const pages: readonly Test[] = [
  ...[WIDE, NARROW].flatMap((size) => (["light", "dark"] as const).map((theme) => test({ size, theme }))),
  {
    name: "no page does what its policy forbids",
    run: () =>
      signedIn({}, async (page) => {
        for (const { path, ready } of PAGES) {
          await page.goto(`${base}/dashboard/${path}`);
          await ready(page);
        }
      }),
  },
];
