// The module "cloudflare:workers". https://developers.cloudflare.com/workers/runtime-apis/bindings/#importing-env-as-a-global

import { primordials } from "ext:core/mod.js";
import { currentInvocation } from "ext:skep_web/context.js";
import { loopback, WorkerEntrypoint } from "ext:skep_web/events.js";
import { RpcPromise, RpcProperty, RpcStub, RpcTarget } from "ext:skep_web/rpc_stubs.js";
import { Fetcher } from "ext:skep_web/services.js";

const { Error, TypeError } = primordials;

/** The Worker's bindings: the object that handlers get. */
const env = {};

/** Keeps the current event alive until a promise is settled. */
function waitUntil(promise) {
  const invocation = currentInvocation();
  if (invocation === undefined) throw new Error("waitUntil() can only be called while an event is handled");
  invocation.waitUntil(promise);
}

/** Runs a function with other bindings is not possible here; the name exists so that the import gives a clear error. */
function withEnv() {
  throw new Error("withEnv() is not supported yet: pass the bindings as an argument");
}

function unsupported(name) {
  return class {
    constructor() {
      throw new TypeError(`${name} is not supported yet`);
    }
  };
}

const DurableObject = unsupported("DurableObject");
const WorkflowEntrypoint = unsupported("WorkflowEntrypoint");

export {
  DurableObject,
  env,
  Fetcher as ServiceStub,
  loopback as exports,
  RpcPromise,
  RpcProperty,
  RpcStub,
  RpcTarget,
  waitUntil,
  withEnv,
  WorkerEntrypoint,
  WorkflowEntrypoint,
};
