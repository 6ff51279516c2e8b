/** Tests by their names, one after the other; what they expect, waited for. */

export interface Test {
  name: string;
  run: () => Promise<void>;
}

/** How long something that should come soon is waited for, in milliseconds. */
export const PATIENCE = 30_000;

export function expect(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

/** Asks again and again until something holds. */
export async function until(what: string, ask: () => Promise<boolean>): Promise<void> {
  const begun = Date.now();
  while (!(await ask())) {
    expect(Date.now() - begun < PATIENCE, `it does not come: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Runs tests; gives how many failed. */
export async function all(tests: readonly Test[]): Promise<number> {
  const only = process.env["SKEP_ONLY"];
  let failed = 0;
  for (const { name, run } of tests.filter((test) => only === undefined || test.name.includes(only))) {
    const begun = Date.now();
    try {
      await run();
      console.log(`ok    ${name} (${Date.now() - begun} ms)`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${name}\n      ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    }
  }
  return failed;
}
