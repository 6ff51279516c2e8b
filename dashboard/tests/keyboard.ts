/** Everything without a mouse. */
import type { Page } from "playwright-core";

import { signedIn, visitor } from "./browser";
import { type Test, expect } from "./check";
import { base, token, worker } from "./platform";

/** Presses Tab until an element has the focus, and gives how often. */
async function tabTo(page: Page, name: RegExp): Promise<void> {
  for (let pressed = 0; pressed < 80; pressed += 1) {
    await page.keyboard.press("Tab");
    const here = await page.evaluate(() => {
      const element = document.activeElement;
      const style = element === null ? undefined : getComputedStyle(element);
      return {
        name: element?.getAttribute("aria-label") ?? element?.textContent ?? "",
        seen: style !== undefined && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
      };
    });
    if (!name.test(here.name)) continue;
    expect(here.seen, `the focus on ${here.name} is not to be seen`);
    return;
  }
  throw new Error(`Tab does not come to ${String(name)}`);
}

export const keyboard: readonly Test[] = [
  {
    name: "from signing in to a rollback and back, by keyboard alone",
    run: () =>
      visitor({}, async (page) => {
        await page.goto(`${base}/dashboard/`);
        await page.getByLabel("API token").waitFor();
        // The field has the focus from the beginning.
        await page.keyboard.type(token);
        await page.keyboard.press("Enter");
        await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
        await page.getByRole("link", { name: worker, exact: true }).waitFor();
        await tabTo(page, /^Skip to the content$/);
        await page.keyboard.press("Enter");
        expect(await page.evaluate(() => document.activeElement?.id === "main"), "the skip link leads to the content");
        await tabTo(page, new RegExp(`^${worker}$`));
        await page.keyboard.press("Enter");
        const heading = page.getByRole("heading", { name: worker, level: 1 });
        await heading.waitFor();
        expect(
          await heading.evaluate((element) => element === document.activeElement),
          "the new page's heading has the focus",
        );
        await tabTo(page, /^Live$/);
        await page.keyboard.press("ArrowRight");
        await page.keyboard.press("ArrowRight");
        await page.keyboard.press("ArrowRight");
        await page.keyboard.press("Enter");
        await page.getByRole("button", { name: "Roll back to version 1", exact: true }).waitFor();
        await tabTo(page, /^Roll back to version 1$/);
        await page.keyboard.press("Enter");
        const dialog = page.getByRole("dialog");
        await dialog.waitFor();
        for (let pressed = 0; pressed < 12; pressed += 1) {
          await page.keyboard.press("Tab");
          const inside = await page.evaluate(() => {
            const element = document.activeElement;
            // Between the last and the first element the browser's own bar has the focus.
            return element === document.body || element?.closest("dialog") !== null;
          });
          expect(inside, "the focus stays in the dialog");
        }
        await page.keyboard.press("Escape");
        await dialog.waitFor({ state: "detached" });
        expect(
          await page.evaluate(() => document.activeElement?.getAttribute("aria-label") === "Roll back to version 1"),
          "the focus is back where the dialog was opened",
        );
        await page.goBack();
        await page.getByRole("img", { name: /Requests and errors/ }).waitFor();
      }),
  },
  {
    name: "tables are sorted and events opened by keyboard, and the theme is changed",
    run: () =>
      signedIn({}, async (page) => {
        await page.getByRole("link", { name: worker, exact: true }).waitFor();
        await tabTo(page, /^Worker$/);
        await page.keyboard.press("Enter");
        await page.locator('th[aria-sort="ascending"]').getByText("Worker").waitFor();
        await page.goto(`${base}/dashboard/workers/${worker}/logs`);
        await page.locator(".event button").first().waitFor();
        await page.locator(".event button").first().focus();
        await page.keyboard.press("Space");
        await page.locator('.event button[aria-expanded="true"]').waitFor();
        const theme = page.getByRole("button", { name: /^Theme/ });
        await theme.focus();
        await page.keyboard.press("Enter");
        await page.keyboard.press("Enter");
        await page.locator('html[data-theme="dark"]').waitFor();
        await page.reload();
        await page.locator('html[data-theme="dark"]').waitFor();
      }),
  },
];
