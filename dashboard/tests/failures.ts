/** When something is wrong, the page says what, and what to do; when it is right again, it goes on by itself. */
import { signIn, signedIn, visitor } from "./browser";
import { type Test, until } from "./check";
import { base, worker } from "./platform";

const envelope = (message: string) => ({
  success: false,
  errors: [{ code: 10002, message }],
  messages: [],
  result: null,
});

export const failures: readonly Test[] = [
  {
    name: "without a connection the last figures stay and say how old they are",
    run: () =>
      signedIn({}, async (page) => {
        await page.goto(`${base}/dashboard/workers/${worker}/versions`);
        await page.getByRole("button", { name: "Roll back to version 1", exact: true }).waitFor();
        await page.context().setOffline(true);
        await page.getByText("The platform cannot be reached").first().waitFor();
        await page.getByRole("button", { name: "Roll back to version 1", exact: true }).waitFor();
        await page.context().setOffline(false);
        await until("it goes on by itself", async () => (await page.getByText("cannot be reached").count()) === 0);
      }),
  },
  {
    name: "a failure of the platform is shown with what to do, and tried again",
    run: () =>
      signedIn({}, async (page) => {
        let failing = true;
        await page.context().route(/\/audit/, (route) => {
          if (!failing || route.request().resourceType() === "document") return route.fallback();
          return route.fulfill({ status: 500, json: envelope("the database is full") });
        });
        await page.goto(`${base}/dashboard/audit`);
        const alert = page.getByRole("alert");
        await alert.getByText("the database is full").waitFor();
        await alert.getByText("the platform’s log says more").waitFor();
        failing = false;
        await alert.getByRole("button", { name: "Try again" }).click();
        await page.getByRole("cell", { name: "session.begin" }).first().waitFor();
      }),
  },
  {
    name: "an answer that is no JSON is explained",
    run: () =>
      signedIn({}, async (page) => {
        await page.context().route(/\/tokens$/, (route) => {
          if (route.request().resourceType() === "document") return route.fallback();
          return route.fulfill({ status: 503, contentType: "text/html", body: "<h1>starting</h1>" });
        });
        await page.goto(`${base}/dashboard/tokens`);
        await page.getByRole("alert").getByText("starting, stopping or overloaded").waitFor();
      }),
  },
  {
    name: "an older platform is met with a friendly word",
    run: () =>
      signedIn({}, async (page) => {
        await page.context().route(/\/(analytics|status|logs)(\?|$)/, (route) => {
          if (route.request().resourceType() === "document") return route.fallback();
          return route.fulfill({ status: 404, json: envelope("there is no endpoint") });
        });
        for (const path of ["", "nodes", `workers/${worker}`, `workers/${worker}/logs`]) {
          await page.goto(`${base}/dashboard/${path}`);
          await page.getByText("not available on this platform version").waitFor();
        }
      }),
  },
  {
    name: "a session that is over leads to signing in, and back",
    run: () =>
      visitor({}, async (page) => {
        await page.goto(`${base}/dashboard/workers/${worker}/secrets`);
        await signIn(page);
        await page.getByRole("button", { name: "Add a secret" }).click();
        await page.getByLabel("Name").fill("LATE");
        await page.getByLabel("Value").fill("x");
        await page.context().clearCookies();
        await page.getByRole("dialog").getByRole("button", { name: "Add and deploy" }).click();
        await page.getByText("Your session is over").waitFor();
        await signIn(page);
        await page.getByRole("heading", { name: worker, level: 1 }).waitFor();
        await page.getByText("No secrets").waitFor();
      }),
  },
];
