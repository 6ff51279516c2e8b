/** Watching a Worker live: what the test asks appears, and what Workers write is text and nothing else. */
import type { Page } from "playwright-core";

import { signedIn } from "./browser";
import { type Test, expect, until } from "./check";
import { base, visit, worker } from "./platform";

async function watching(page: Page): Promise<void> {
  await page.goto(`${base}/dashboard/workers/${worker}/tail`);
  await page.getByText("Watching", { exact: true }).waitFor();
}

export const tails: readonly Test[] = [
  {
    name: "requests appear in the tail as they happen, and pause, clear and filters work",
    run: () =>
      signedIn({}, async (page) => {
        await watching(page);
        const events = page.locator(".event");
        for (let number = 0; number < 5; number += 1) await visit(worker, `/live-${number}`);
        await until("five events", async () => (await events.count()) === 5);
        expect((await events.first().textContent())?.includes("/live-4") === true, "the newest is first");
        await page.getByRole("button", { name: "Pause" }).click();
        await visit(worker, "/while-paused");
        await page.getByText("Paused, 1 new").waitFor();
        expect((await events.count()) === 5, "nothing moves while it is paused");
        await page.getByRole("button", { name: "Go on" }).click();
        await until("the sixth event", async () => (await events.count()) === 6);
        await page.getByLabel("Search events").fill("while-paused");
        await until("one event fits", async () => (await events.count()) === 1);
        await page.getByLabel("Search events").fill("");
        await page.getByRole("button", { name: "Clear" }).click();
        await page.getByText("Waiting for events").waitFor();
        await page.getByLabel("Outcome").selectOption("failed");
        await page.getByText("Watching", { exact: true }).waitFor();
        await visit(worker, "/fine");
        await visit(worker, "/boom");
        await until("the failure", async () => (await events.count()) === 1);
        expect((await events.first().textContent())?.includes("/boom") === true, "only the failure is there");
      }),
  },
  {
    name: "log lines with HTML and terminal escapes are inert",
    run: () =>
      signedIn({}, async (page) => {
        await watching(page);
        await visit(worker, "/boom");
        const event = page.locator(".event").first();
        await event.getByRole("button").click();
        const details = event.locator(".event-details");
        await details.getByText("<img src=x onerror=alert(1)>").first().waitFor();
        const text = (await details.textContent()) ?? "";
        expect(text.includes("visit <b>bold</b> red"), `the line is shown as it is, without colours: ${text}`);
        expect(
          !text.includes("\u001b") && text.includes("\\u202e") && text.includes("\\x07"),
          `what is hidden is shown: ${text}`,
        );
        const made = await page.locator("main :is(img, script, b b, iframe)").count();
        expect(made === 0, `${made} elements were made of a log line`);
      }),
  },
  {
    name: "traffic appears in the graph",
    run: () =>
      signedIn({}, async (page) => {
        await page.goto(`${base}/dashboard/workers/${worker}`);
        const chart = page.getByRole("img", { name: /Requests and errors per second/ });
        const seen = async (): Promise<string> => (await chart.getAttribute("aria-label")) ?? "";
        await chart.waitFor();
        const before = await seen();
        for (let number = 0; number < 20; number += 1) await visit(worker, "/graph");
        await until("another sentence about the graph", async () => (await seen()) !== before);
        expect(/[1-9][\d,.K]* requests/.test(await seen()), await seen());
        await page.getByRole("table", { name: /Requests and errors/ }).waitFor({ state: "attached" });
      }),
  },
];
