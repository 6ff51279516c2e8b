/** Answers for endpoints that the platform under test does not have; whatever it has is its own answer. */
import type { BrowserContext, Route } from "playwright-core";

import { worker } from "./platform";

/** Milliseconds of a step. */
const STEP = 10_000;

/** Traffic that looks like traffic: waves, a few errors, two cold starts. */
function analytics(url: URL): unknown {
  const since = Number(url.searchParams.get("since") ?? 3600);
  const last = Math.floor(Date.now() / STEP) * STEP;
  const series = Array.from({ length: since / 10 }, (_, index) => {
    const at = last - (since / 10 - 1 - index) * STEP;
    const wave = 40 + 22 * Math.sin(at / 240_000) + 9 * Math.sin(at / 37_000) + 5 * Math.sin(at / 11_000);
    const requests = Math.round(wave);
    const slow = 1 + Math.abs(Math.sin(at / 90_000));
    return {
      at,
      requests,
      errors: Math.sin(at / 130_000) > 0.9 ? Math.round(requests / 8) : 0,
      cpu_us: requests * 840,
      cold_starts: index % 97 === 13 ? 1 : 0,
      bytes_out: requests * 512,
      p50_ms: 1.2 * slow,
      p90_ms: 3.4 * slow,
      p99_ms: 8.9 * slow,
    };
  });
  const figures = (name: string, requests: number, errors: number) => {
    return { worker: name, requests, errors, cpu_us: requests * 840, cold_starts: 2, p50_ms: 1.31, p99_ms: 12.4 };
  };
  return {
    step: 10,
    since: last - since * 1000,
    series,
    workers: [figures(worker, 12_843, 31), figures("hello", 1204, 0)],
  };
}

function status(): unknown {
  const now = Date.now();
  return {
    status: "degraded",
    version: "0.1.0",
    now,
    nodes: [
      {
        id: "1f0c",
        name: "node-1",
        up: true,
        version: "0.1.0",
        started: now - 86_400_000 * 3,
        last_heartbeat: now - 1200,
        cores: 8,
        memory_used: 3.1 * 2 ** 30,
        memory_limit: 16 * 2 ** 30,
        disk_free: 22 * 2 ** 30,
        disk_total: 160 * 2 ** 30,
        runtimes: 2,
        restarts: 0,
        isolates: 214,
      },
    ],
    checks: [
      { name: "store", ok: true, message: "a row was written and read", at: now - 4000, took_ms: 3 },
      {
        name: "disk",
        ok: false,
        message: "less than 15 % is free: make room, or add a disk",
        at: now - 4000,
        took_ms: 1,
      },
    ],
    alerts: [{ event: "disk.low", message: "22 GiB of 160 GiB are free", since: now - 7_200_000 }],
  };
}

function logs(url: URL): unknown {
  const until = Number(url.searchParams.get("cursor") ?? Date.now());
  const search = url.searchParams.get("search") ?? "";
  const events = Array.from({ length: search === "nothing" ? 0 : 12 }, (_, index) => {
    const at = until - index * 4200;
    const failed = index % 5 === 2;
    const request = { url: `http://shop.dev.localhost/cart/${index}`, method: "GET", headers: { accept: "*/*" } };
    return {
      id: String(at),
      at,
      worker,
      version: "9cf006dd-3c4b-4952-9a29-dfa00a079d07",
      ray: `8f2a${index}c1d2e3f`,
      kind: "fetch",
      method: "GET",
      url: request.url,
      status: failed ? 500 : 200,
      outcome: failed ? "exception" : "ok",
      level: failed ? "error" : "log",
      cpu_us: 700 + index * 31,
      wall_us: 1900 + index * 77,
      event: {
        outcome: failed ? "exception" : "ok",
        scriptName: worker,
        eventTimestamp: at,
        exceptions: failed ? [{ name: "Error", message: "<b>cart</b> is gone", timestamp: at }] : [],
        logs: [{ message: [`cart <i>${index}</i> \u001b[32mread\u001b[0m`], level: "log", timestamp: at }],
        event: { request, ...(failed ? {} : { response: { status: 200 } }) },
      },
    };
  });
  const more = url.searchParams.has("cursor") || events.length === 0;
  return { events, next: more ? null : String(until - 60_000) };
}

const SUPPLIED: readonly (readonly [RegExp, (url: URL) => unknown])[] = [
  [/\/skep\/v1\/accounts\/[^/]+\/analytics(\?|$)/, analytics],
  [/\/skep\/v1\/accounts\/[^/]+\/status(\?|$)/, status],
  [/\/skep\/v1\/accounts\/[^/]+\/logs(\?|$)/, logs],
];

export async function supply(context: BrowserContext): Promise<void> {
  for (const [pattern, answer] of SUPPLIED) {
    await context.route(pattern, async (route: Route) => {
      const real = await route.fetch().catch(() => null);
      if (real === null) return route.abort();
      if (real.status() !== 404) return route.fulfill({ response: real });
      const result = answer(new URL(route.request().url()));
      return route.fulfill({ json: { success: true, errors: [], messages: [], result } });
    });
  }
}
