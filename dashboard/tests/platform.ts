/** The platform that is tested: its API as a program calls it, and visits to its Workers. */
import { request } from "node:http";

function needed(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "")
    throw new Error(`${name} is not set: crates/skep/tests/e2e/dashboard.rs sets it`);
  return value;
}

/** Where it is, such as `http://localhost:8787`. */
export const base = needed("SKEP_URL");
export const token = needed("SKEP_TOKEN");
/** A Worker with two versions, a cron trigger and a secret-less environment, as `dashboard.rs` deploys it. */
export const worker = "shop";
/** Where screenshots go; none are made without it. */
export const pictures = process.env["SKEP_SCREENSHOTS"];

const { host, port } = new URL(base);

export interface Answer {
  status: number;
  text: string;
}

/** A request to this machine, whatever host it names. */
function send(method: string, path: string, headers: Record<string, string>, body = ""): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port, method, path, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** A visit to a Worker at its own address. */
export function visit(name: string, path: string, method = "GET"): Promise<Answer> {
  return send(method, path, { host: `${name}.dev.localhost:${port}` });
}

/** A visit to whoever answers for a host of somebody's own. */
export function visitHost(name: string, path: string): Promise<Answer> {
  return send("GET", path, { host: name });
}

/** A call of the API with the token, as a program makes it. */
export async function api<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers = { host, authorization: `Bearer ${token}`, "content-type": "application/json" };
  const answer = await send(method, path, headers, body === undefined ? "" : JSON.stringify(body));
  const envelope = JSON.parse(answer.text) as { success: boolean; result: T };
  if (!envelope.success) throw new Error(`${method} ${path}: ${answer.text}`);
  return envelope.result;
}

export async function account(): Promise<string> {
  const [first] = await api<{ id: string }[]>("GET", "/client/v4/accounts");
  if (first === undefined) throw new Error("the token is of no account");
  return first.id;
}
