/** What the platform's API answers, as far as the dashboard reads it. */

export type Permission =
  "account_read" | "account_write" | "workers_read" | "workers_write" | "storage_read" | "storage_write" | "operator";

export interface Session {
  account: { id: string; name: string; subdomain: string };
  token: { id: string; name: string; permissions: Permission[]; worker: string | null; expires_on: string | null };
  session: { expires_on: string } | null;
}

export interface Account {
  id: string;
  name: string;
  created_on: string;
}

export interface Script {
  id: string;
  created_on: string;
  modified_on: string;
  handlers: string[];
  has_assets: boolean;
  compatibility_date: string | null;
  compatibility_flags: string[];
}

export interface WorkerAddress {
  name: string;
  subdomain: { enabled: boolean; previews_enabled: boolean; url: string };
}

export interface Point {
  /** Milliseconds since 1970, of the step's beginning. */
  at: number;
  requests: number;
  errors: number;
  cpu_us: number;
  cold_starts: number;
  bytes_out: number;
  p50_ms: number | null;
  p90_ms: number | null;
  p99_ms: number | null;
}

export interface WorkerFigures {
  worker: string;
  requests: number;
  errors: number;
  cpu_us: number;
  cold_starts: number;
  p50_ms: number | null;
  p99_ms: number | null;
}

export interface Analytics {
  /** Seconds. */
  step: number;
  series: Point[];
  workers: WorkerFigures[];
}

export interface Binding {
  name: string;
  type: string;
  [more: string]: unknown;
}

export interface Annotations {
  "workers/message"?: string;
  "workers/tag"?: string;
  "workers/triggered_by"?: string;
}

export interface Version {
  id: string;
  number: number;
  metadata: { created_on: string; author_email: string; source: string };
  annotations: Annotations;
}

export interface Deployment {
  id: string;
  source: string;
  author_email: string;
  created_on: string;
  annotations: Annotations;
  versions: { version_id: string; percentage: number }[];
}

export interface Promotion {
  version_id: string;
  from: string | null;
  steps: number[];
  every: number;
  rollback_on: { error_rate: number } | null;
  state: "running" | "done" | "rolled_back" | "stopped";
  step: number;
  reason: string | null;
  requests: number;
  errors: number;
  author: string;
  begun_on: string;
  next_on: string | null;
  percentage: number;
}

export interface WorkerSettings {
  bindings: Binding[];
  compatibility_date: string | null;
  compatibility_flags: string[];
  observability: { enabled?: boolean; head_sampling_rate?: number } | null;
}

export interface Route {
  id: string;
  pattern: string;
  zone_id: string;
  zone_name?: string;
}

export interface CustomDomain {
  id: string;
  hostname: string;
  service: string;
}

export interface Schedule {
  cron: string;
  created_on: string;
  last_due: string | null;
}

export interface CronRun {
  outcome: string;
  error: string | null;
  wall_time_ms: number;
}

export interface TraceLog {
  message: unknown[];
  level: string;
  timestamp: number;
}

export interface TraceException {
  name: string;
  message: string;
  stack?: string;
  timestamp: number;
}

/** One event of a Worker, as tails and the log have it. */
export interface TraceItem {
  outcome: string;
  scriptName: string | null;
  eventTimestamp: number;
  wallTime?: number;
  cpuTime?: number;
  truncated?: boolean;
  scriptVersion?: { id: string };
  exceptions: TraceException[];
  logs: TraceLog[];
  event: {
    type?: string;
    message?: string;
    cron?: string;
    queue?: string;
    rpcMethod?: string;
    request?: { url: string; method: string; headers?: Record<string, string> };
    response?: { status: number };
  } | null;
}

export interface LogEvent {
  id: string;
  at: number;
  worker: string;
  version: string;
  ray: string | null;
  kind: string;
  method: string | null;
  url: string | null;
  status: number | null;
  outcome: string;
  level: string | null;
  cpu_us: number;
  wall_us: number;
  /** Nothing if its file is damaged. */
  event: TraceItem | null;
}

export interface LogPage {
  /** The newest first. */
  events: LogEvent[];
  next: string | null;
  /** Where events were not kept, as there were too many. */
  gaps?: { worker: string; dropped: number }[];
}

export interface Used {
  of: string;
  requests: number;
  cpu_us: number;
  wall_us: number;
  bytes_out: number;
  cold_starts: number;
}

export interface Usage {
  rows: Used[];
  total: Omit<Used, "of">;
}

export type Beyond = "refuse" | "bill" | "throttle";

export interface SpendCap {
  per_month: string;
  then: Beyond;
  throttle_per_second?: number;
}

export interface WorkerTerms {
  [limit: string]: unknown;
}

export interface Terms {
  cap: SpendCap | null;
  workers: Record<string, WorkerTerms>;
}

export interface Measure {
  what: string;
  worker: string | null;
  period: string;
  used: string;
  allowed: string;
  percent: number;
  then: string;
  currency?: string;
}

export interface Plan {
  name: string;
  title: string;
  currency: string;
  source: string | null;
  as_of: string | null;
  base: string;
  requests: { included: number; price_per_million: string } | null;
  cpu: { included_ms: number; price_per_million_ms: string } | null;
  egress: { included_gb: string | number; price_per_gb: string } | null;
}

export interface Billing {
  plan: Plan;
  terms: Terms;
  standing: { measures: Measure[]; account: { reason: string } | null };
}

export interface Invoice {
  number: string;
  period: string;
  plan_title: string;
  currency: string;
  state: "open" | "final";
  total: string;
  lines: { what: string; quantity: string; amount: string }[];
}

export interface Offer {
  plan: string;
  title: string;
  is_own: boolean;
  cost: string;
  so_far: string | null;
  this_month: string | null;
  break_even: { vm_is_cheaper: string; requests_per_day?: number } | null;
}

export interface Comparison {
  sentence: string;
  currency: string;
  requests_per_day: number;
  vm: { price_per_month: string; cores: number; is_enough: boolean };
  offers: Offer[];
}

export interface PlatformNode {
  id: string;
  name: string;
  up: boolean;
  version: string;
  started: number | string;
  last_heartbeat: number | string;
  cores: number;
  memory_used: number;
  memory_limit: number;
  disk_free: number;
  disk_total: number;
  runtimes: number;
  restarts: number;
  isolates: number;
}

export interface Status {
  status: "ok" | "degraded" | "down";
  version: string;
  now: number | string;
  nodes: PlatformNode[];
  checks: { name: string; ok: boolean; message: string; at: number | string; took_ms: number }[];
  alerts: { event: string; message: string; since: number | string }[];
}

export interface Token {
  id: string;
  name: string;
  permissions: Permission[];
  worker: string | null;
  created_on: number;
  expires_on: number | null;
}

export interface AuditEntry {
  number: number;
  at: string;
  actor: string;
  address: string | null;
  action: string;
  target: string;
  detail: unknown;
}
