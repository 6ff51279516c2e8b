/** What somebody changes in the dashboard is changed on the platform. */
import { readFileSync } from "node:fs";

import { signIn, signedIn } from "./browser";
import { type Test, expect, until } from "./check";
import { picture } from "./pages";
import { account, api, base, token, visit, visitHost, worker } from "./platform";

interface Deployments {
  deployments: { versions: { version_id: string; percentage: number }[]; annotations: Record<string, string> }[];
}

const at = (part: string): string => `${base}/dashboard/workers/${worker}/${part}`;

export const changes: readonly Test[] = [
  {
    name: "a rollback asks first, and is deployed with its reason",
    run: () =>
      signedIn({}, async (page) => {
        const path = `/client/v4/accounts/${await account()}/workers/scripts/${worker}/deployments`;
        const live = async () => (await api<Deployments>("GET", path)).deployments[0];
        const before = (await live())?.versions[0]?.version_id;
        await page.goto(at("versions"));
        const button = page.getByRole("button", { name: "Roll back to version 1", exact: true });
        await button.click();
        const dialog = page.getByRole("dialog", { name: `Roll back ${worker}?` });
        await dialog.waitFor();
        await page.keyboard.press("Escape");
        await dialog.waitFor({ state: "detached" });
        expect(
          await button.evaluate((element) => element === document.activeElement),
          "the focus is back on the button",
        );
        expect((await live())?.versions[0]?.version_id === before, "Esc changes nothing");
        await button.click();
        await dialog.getByLabel("Why").fill("the cart was empty");
        await dialog.getByRole("button", { name: "Roll back" }).click();
        await dialog.waitFor({ state: "detached" });
        const now = await live();
        expect(now?.versions[0]?.version_id !== before, "another version is live");
        expect(now?.annotations["workers/message"] === "the cart was empty", JSON.stringify(now));
        await page.getByText("the cart was empty").first().waitFor();
        // Back again, for who comes next.
        await api("POST", path, { strategy: "percentage", versions: [{ version_id: before, percentage: 100 }] });
      }),
  },
  {
    name: "a secret is added, reaches the code, is never shown, and is deleted",
    run: () =>
      signedIn({}, async (page) => {
        await page.goto(at("secrets"));
        await page.getByRole("button", { name: "Add a secret" }).click();
        const dialog = page.getByRole("dialog", { name: "Add a secret" });
        await dialog.getByLabel("Name").fill("API_KEY");
        await dialog.getByLabel("Value").fill("hunter2");
        await dialog.getByRole("button", { name: "Add and deploy" }).click();
        await page.getByRole("cell", { name: "API_KEY", exact: true }).waitFor();
        await until("the secret is live", async () => (await visit(worker, "/secret")).text === "hunter2");
        expect(!(await page.content()).includes("hunter2"), "the value is not in the page");
        await page.goto(at("settings"));
        await page.getByRole("cell", { name: "hidden" }).waitFor();
        await page.goto(at("secrets"));
        await page.getByRole("button", { name: "Delete API_KEY" }).click();
        await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
        await page.getByText("No secrets").waitFor();
        await until("it is gone", async () => (await visit(worker, "/secret")).text === "none");
      }),
  },
  {
    name: "a route is added, leads to the Worker, and is removed",
    run: () =>
      signedIn({}, async (page) => {
        const [domain, pattern] = ["routes.example", "routes.example/api/*"];
        await api("POST", `/skep/v1/accounts/${await account()}/domains`, { name: domain, trusted: true });
        const leads = async () => (await visitHost(domain, "/api/x")).text === "shop hi";
        expect(!(await leads()), "nobody answers for it yet");
        await page.goto(at("routes"));
        const add = async (text: string) => {
          await page.getByRole("button", { name: "Add a route" }).click();
          const dialog = page.getByRole("dialog", { name: "Add a route" });
          await dialog.getByLabel("Route").fill(text);
          await dialog.getByRole("button", { name: "Add", exact: true }).click();
          return dialog;
        };
        // One of a domain that is nobody's is refused, where it was written.
        const refused = await add("elsewhere.example/*");
        await refused.getByRole("alert").getByText("elsewhere.example").waitFor();
        await page.keyboard.press("Escape");
        await refused.waitFor({ state: "detached" });
        await page.getByText("No routes").waitFor();
        await (await add(pattern)).waitFor({ state: "detached" });
        await page.getByRole("cell", { name: pattern, exact: true }).waitFor();
        expect(await leads(), "the Worker answers there as soon as it is said");
        expect(!((await visitHost(domain, "/other")).text === "shop hi"), "and nowhere else");
        await page.getByRole("button", { name: `Delete ${pattern}` }).click();
        const dialog = page.getByRole("dialog", { name: "Delete this route?" });
        await dialog.getByRole("button", { name: "Delete" }).click();
        await page.getByText("No routes").waitFor();
        expect(!(await leads()), "nobody answers for it any more");
      }),
  },
  {
    name: "a cron trigger runs now",
    run: () =>
      signedIn({}, async (page) => {
        await page.goto(at("crons"));
        await page.getByRole("button", { name: "Run now" }).click();
        await page.getByRole("status").getByText("Succeeded").waitFor();
      }),
  },
  {
    name: "a promotion shows its steps and is stopped",
    run: () =>
      signedIn({}, async (page) => {
        const own = await account();
        const scripts = `/client/v4/accounts/${own}/workers/scripts/${worker}`;
        const { items } = await api<{ items: { id: string; number: number }[] }>("GET", `${scripts}/versions`);
        const live = (await api<Deployments>("GET", `${scripts}/deployments`)).deployments[0]?.versions[0]?.version_id;
        const other = items.find((version) => version.id !== live)?.id;
        await api("PUT", `/skep/v1/accounts/${own}/workers/${worker}/promotion`, {
          version_id: other,
          steps: [10, 50, 100],
          every: 600,
          rollback_on: { error_rate: 0.02 },
        });
        await page.goto(at("versions"));
        await page.getByText("Running", { exact: true }).waitFor();
        expect(
          (await page.locator('.steps [aria-current="step"]').textContent())?.trim() === "10 %",
          "the first step is marked",
        );
        await picture(page, "promotion", "1280-light");
        await page.getByRole("button", { name: "Stop and go back" }).click();
        await page.getByRole("dialog").getByRole("button", { name: "Stop and go back" }).click();
        await page.getByText("Stopped", { exact: true }).waitFor();
      }),
  },
  {
    name: "an invoice opens as HTML, CSV and JSON, and the cap is changed",
    run: () =>
      signedIn({}, async (page) => {
        await page.goto(`${base}/dashboard/usage`);
        const opened = page.context().waitForEvent("page");
        await page
          .getByRole("link", { name: /as HTML/ })
          .first()
          .click();
        const invoice = await opened;
        await invoice.getByText("Total").first().waitFor();
        await invoice.close();
        const download = page.waitForEvent("download");
        await page
          .getByRole("link", { name: /as CSV/ })
          .first()
          .click();
        const file = await (await download).path();
        expect(readFileSync(file, "utf8").includes("requests"), "the CSV has lines");
        await page.getByRole("button", { name: "Change the spend cap" }).click();
        await page.getByLabel(/The most that a month may cost/).fill("12.50");
        await page.getByLabel("Beyond it").selectOption("bill");
        await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
        await page.getByText("12.50 $ a month, then bill").waitFor();
      }),
  },
  {
    name: "a token is shown once, and who signed in with it is out when it is revoked",
    run: () =>
      signedIn({}, async (page) => {
        const name = `short-lived ${process.pid}`;
        await page.goto(`${base}/dashboard/tokens`);
        await page.getByRole("button", { name: "Create a token" }).click();
        await page.getByRole("textbox", { name: "Name" }).fill(name);
        await page.getByRole("checkbox", { name: /Account read/ }).check();
        await page.getByRole("dialog").getByRole("button", { name: "Create", exact: true }).click();
        const shown = await page.getByRole("dialog").locator("code").textContent();
        expect(shown?.startsWith("skep_") === true && shown !== token, "the token is shown");
        await page.getByRole("button", { name: "Done" }).click();
        await page.getByRole("cell", { name, exact: true }).waitFor();
        expect(!(await page.content()).includes(shown), "and not a second time");
        const other = await page.context().browser()?.newContext();
        expect(other !== undefined, "another browser");
        const theirs = await other.newPage();
        await theirs.goto(`${base}/dashboard/audit`);
        await theirs.getByLabel("API token").fill(shown);
        await theirs.getByRole("button", { name: "Sign in" }).click();
        await theirs.getByRole("cell", { name: "token.create" }).first().waitFor();
        await page.getByRole("button", { name: `Revoke ${name}` }).click();
        await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
        await page.getByRole("cell", { name, exact: true }).waitFor({ state: "detached" });
        await theirs.getByRole("button", { name: "Look again" }).click();
        await theirs.getByText("Your session is over").waitFor();
        // Signed in again, they are back where they were.
        await signIn(theirs);
        await theirs.getByRole("heading", { name: "Audit log", level: 1 }).waitFor();
        await other.close();
      }),
  },
];
