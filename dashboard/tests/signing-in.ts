/** Getting in: the right token, a wrong one, and what the first load weighs. */
import { signIn, visitor } from "./browser";
import { type Test, expect } from "./check";
import { base } from "./platform";

/** Bytes that the first load may weigh, compressed. */
const MOST = 150 * 1024;

export const signingIn: readonly Test[] = [
  {
    name: "a wrong token is refused and says where the right one is",
    run: () =>
      visitor({}, async (page) => {
        await page.goto(`${base}/`);
        expect(page.url() === `${base}/dashboard/`, `the API's host leads to the dashboard, not to ${page.url()}`);
        await page.getByLabel("API token").fill("skep_wrong");
        await page.getByRole("button", { name: "Sign in" }).click();
        await page.getByRole("alert").getByText("admin-token").waitFor();
        expect((await page.context().cookies()).length === 0, "no cookie is set");
      }),
  },
  {
    name: "a token signs in, stays out of the page's reach, and signs out",
    run: () =>
      visitor({}, async (page) => {
        await page.goto(`${base}/dashboard/audit`);
        await signIn(page);
        await page.getByRole("heading", { name: "Audit log", level: 1 }).waitFor();
        const [cookie] = await page.context().cookies();
        expect(
          cookie?.name === "skep-session" && cookie.httpOnly && cookie.sameSite === "Strict",
          JSON.stringify(cookie),
        );
        const reached = await page.evaluate(
          () => document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage),
        );
        expect(!reached.includes("skep"), `scripts see ${reached}`);
        await page.reload();
        await page.getByRole("heading", { name: "Audit log", level: 1 }).waitFor();
        await page.getByRole("button", { name: "Sign out" }).click();
        await page.getByText("You are signed out").waitFor();
        await page.reload();
        await page.getByLabel("API token").waitFor();
      }),
  },
  {
    name: "the first load is small, and the second asks for nothing again",
    run: () =>
      visitor({}, async (page) => {
        const sizes: { url: string; bytes: number }[] = [];
        page.on("requestfinished", (request) => {
          void request
            .sizes()
            .then((size) =>
              sizes.push({ url: request.url(), bytes: size.responseBodySize + size.responseHeadersSize }),
            );
        });
        await page.goto(`${base}/dashboard/`, { waitUntil: "networkidle" });
        const total = sizes.reduce((sum, { bytes }) => sum + bytes, 0);
        expect(sizes.length >= 4 && total < MOST, `the first load is ${total} bytes: ${JSON.stringify(sizes)}`);
        console.log(`      first load: ${total} bytes in ${sizes.length} answers, heads included`);
        const assets = new Set(sizes.map(({ url }) => url).filter((url) => url.includes("/assets/")));
        sizes.length = 0;
        const sent: string[] = [];
        page.on("response", (response) => {
          if (assets.has(response.url())) sent.push(response.url());
        });
        await page.goto(`${base}/dashboard/usage`, { waitUntil: "networkidle" });
        const again = sizes.filter(({ url, bytes }) => assets.has(url) && bytes > 0);
        expect(again.length === 0 || sent.length === assets.size, JSON.stringify(again));
      }),
  },
];
