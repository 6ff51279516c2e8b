/** The endpoints that the dashboard uses. */
import { account } from "../session";
import { call, part, query } from "./client";
import type * as T from "./types";

const cloudflare = (): string => `/client/v4/accounts/${account.peek()}`;
const own = (): string => `/skep/v1/accounts/${account.peek()}`;
const script = (name: string): string => `${cloudflare()}/workers/scripts/${part(name)}`;

type Stop = AbortSignal | undefined;
const get = <R>(path: string, signal: Stop): Promise<R> => call<R>(path, signal === undefined ? {} : { signal });

// Workers

export const workers = (signal?: Stop) => get<T.Script[]>(`${cloudflare()}/workers/scripts?per_page=1000`, signal);
export const address = (name: string, signal?: Stop) =>
  get<T.WorkerAddress>(`${cloudflare()}/workers/workers/${part(name)}`, signal);
export const settings = (name: string, signal?: Stop) => get<T.WorkerSettings>(`${script(name)}/settings`, signal);
export const versions = (name: string, signal?: Stop) =>
  get<{ items: T.Version[] }>(`${script(name)}/versions?per_page=100`, signal);
export const deployments = (name: string, signal?: Stop) =>
  get<{ deployments: T.Deployment[] }>(`${script(name)}/deployments`, signal);
export const deploy = (name: string, version: string, message: string) =>
  call<T.Deployment>(`${script(name)}/deployments`, {
    method: "POST",
    body: {
      strategy: "percentage",
      versions: [{ version_id: version, percentage: 100 }],
      annotations: { "workers/message": message, "workers/triggered_by": "rollback" },
    },
  });

const promotionOf = (name: string): string => `${own()}/workers/${part(name)}/promotion`;
export const promotion = (name: string, signal?: Stop) => get<T.Promotion>(promotionOf(name), signal);
export const stopPromotion = (name: string) => call<T.Promotion>(promotionOf(name), { method: "DELETE" });

export const secrets = (name: string, signal?: Stop) =>
  get<{ name: string; type: string }[]>(`${script(name)}/secrets`, signal);
export const putSecret = (name: string, secret: string, text: string) =>
  call(`${script(name)}/secrets`, { method: "PUT", body: { name: secret, text, type: "secret_text" } });
export const deleteSecret = (name: string, secret: string) =>
  call(`${script(name)}/secrets/${part(secret)}`, { method: "DELETE" });

export const routes = (name: string, signal?: Stop) =>
  get<T.Route[]>(`${cloudflare()}/workers/services/${part(name)}/environments/production/routes`, signal);
export const putRoutes = (name: string, patterns: string[]) =>
  call(`${script(name)}/routes`, { method: "PUT", body: patterns.map((pattern) => ({ pattern })) });
export const domains = (name: string, signal?: Stop) =>
  get<T.CustomDomain[]>(`${cloudflare()}/workers/domains?service=${part(name)}`, signal);
export const putDomains = (name: string, hosts: string[]) =>
  call(`${script(name)}/domains/records`, {
    method: "PUT",
    body: { override_existing_origin: false, origins: hosts.map((hostname) => ({ hostname })) },
  });

export const schedules = (name: string, signal?: Stop) =>
  get<{ schedules: T.Schedule[] }>(`${script(name)}/schedules`, signal);
export const runCron = (name: string, cron: string) =>
  call<T.CronRun>(`${own()}/workers/${part(name)}/crons/run`, { method: "POST", body: { cron } });

// What happens

export const analytics = (worker: string | undefined, since: number, signal?: Stop) =>
  get<T.Analytics>(`${own()}/analytics${query({ worker, since })}`, signal);
export const makeTail = (name: string, filters: unknown[]) =>
  call<{ id: string; url: string }>(`${script(name)}/tails`, { method: "POST", body: { filters } });
export const endTail = (name: string, id: string) => call(`${script(name)}/tails/${part(id)}`, { method: "DELETE" });
export const logs = (asked: Record<string, string | number | undefined>, signal?: Stop) =>
  get<T.LogPage>(`${own()}/logs${query(asked)}`, signal);
export const status = (signal?: Stop) => get<T.Status>(`${own()}/status`, signal);

// What it costs

export const accountOf = (signal?: Stop) => get<T.Account>(cloudflare(), signal);
export const usage = (by: string, from: string, to: string, signal?: Stop) =>
  get<T.Usage>(`${own()}/usage${query({ by, from, to })}`, signal);
export const billing = (signal?: Stop) => get<T.Billing>(`${own()}/billing`, signal);
export const putTerms = (terms: T.Terms) => call<T.Billing>(`${own()}/billing`, { method: "PUT", body: terms });
export const invoice = (month: string, signal?: Stop) => get<T.Invoice>(`${own()}/invoices/${month}`, signal);
export const invoiceLink = (month: string, format: "html" | "csv" | "json"): string =>
  `${own()}/invoices/${month}?format=${format}`;
export const comparison = (price: string, cores: number, signal?: Stop) =>
  get<T.Comparison>(`${own()}/usage/comparison${query({ vm_price: price, vm_cores: cores })}`, signal);

// Who may

export const tokens = (signal?: Stop) => get<T.Token[]>(`${own()}/tokens`, signal);
export const createToken = (body: {
  name: string;
  permissions: T.Permission[];
  worker?: string;
  expires_on?: string;
}) => call<T.Token & { value: string }>(`${own()}/tokens`, { method: "POST", body });
export const revokeToken = (id: string) => call(`${own()}/tokens/${part(id)}`, { method: "DELETE" });
export const audit = (before: number | undefined, signal?: Stop) =>
  get<T.AuditEntry[]>(`${own()}/audit${query({ before })}`, signal);
