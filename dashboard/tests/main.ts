/** All tests of the dashboard. */
import { close, launch } from "./browser";
import { all } from "./check";
import { changes } from "./changes";
import { failures } from "./failures";
import { keyboard } from "./keyboard";
import { pages } from "./pages";
import { signingIn } from "./signing-in";
import { tails } from "./tails";

export async function main(): Promise<void> {
  await launch();
  const failed = await all([...signingIn, ...tails, ...changes, ...keyboard, ...failures, ...pages]);
  await close();
  if (failed > 0) {
    console.log(`${failed} tests failed`);
    process.exitCode = 1;
  }
}
