// fetch(), also that of bindings: the standard's algorithm over one op for each hop. https://fetch.spec.whatwg.org/#fetch-method
//
// Each hop, redirects too, is a subrequest and is counted. Where a hop may connect to is the host's decision, which sees
// every hop. A request that upgrades to a WebSocket gives a response with `webSocket`.

import { core, primordials } from "ext:core/mod.js";
import { currentId, requireEvent } from "ext:skep_web/context.js";
import { isOn } from "ext:skep_web/flags.js";
import { _webSocket, denoRequest, denoResponse, Request, withoutHeaders } from "ext:skep_web/http.js";
import { knownLength } from "ext:skep_web/streams.js";
import { webSocketFromHost } from "ext:skep_web/websocket.js";

const {
  ArrayPrototypePush,
  ObjectPrototypeIsPrototypeOf,
  Promise,
  PromisePrototypeThen,
  SafeArrayIterator,
  StringPrototypeStartsWith,
  StringPrototypeToLowerCase,
  TypedArrayPrototypeGetSymbolToStringTag,
  TypeError,
} = primordials;
const ops = core.ops;

const streams = core.loadExtScript("ext:deno_web/06_streams.js");
const { URL } = core.loadExtScript("ext:deno_web/00_url.js");
const abortSignal = core.loadExtScript("ext:deno_web/03_abort_signal.js");
const { extractBody, InnerBody } = core.loadExtScript("ext:deno_fetch/22_body.js");
const { blobFromObjectUrl } = core.loadExtScript("ext:deno_web/09_file.js");

const MOST_REDIRECTS = 20;
const BODY_HEADERS = { __proto__: null, "content-encoding": true, "content-language": true, "content-location": true, "content-type": true, "content-length": true };
const CREDENTIAL_HEADERS = { __proto__: null, authorization: true, "proxy-authorization": true, cookie: true, host: true };

function fetch(input, init = undefined) {
  return fetchThrough(overNetwork, input, init);
}

/** Starts a hop over the network. */
function overNetwork(_request, method, url, headers, data, rid) {
  return ops.op_fetch_start(currentId(), method, url, headers, data, rid);
}

/** fetch() by way of `start`, which starts one hop: `start(request, method, url, headers, data, rid)`. */
function fetchThrough(start, input, init) {
  return new Promise((resolve, reject) => {
    requireEvent("fetch()");
    const request = new Request(input, init);
    const signal = request.signal;
    const inner = denoRequest.toInnerRequest(request);
    if (signal.aborted) {
      abortBody(inner, signal.reason);
      throw signal.reason;
    }
    const hop = { start, request, cancelRid: 0, response: null };
    const onAbort = () => {
      abortBody(inner, signal.reason);
      core.tryClose(hop.cancelRid);
      const body = hop.response && denoResponse.toInnerResponse(hop.response)?.body;
      body?.error(signal.reason);
      reject(signal.reason);
    };
    signal[abortSignal.add](onAbort);
    PromisePrototypeThen(follow(inner, hop), (response) => {
      hop.response = response;
      resolve(response);
    }, (error) => {
      signal[abortSignal.remove](onAbort);
      reject(error);
    });
  });
}

function abortBody(inner, reason) {
  const body = inner.body;
  if (body !== null && !body.streamOrStatic.locked) body.cancel(reason);
}

/** Sends a request and follows its redirects. */
async function follow(inner, hop) {
  const urls = [];
  for (;;) {
    const url = inner.currentUrl();
    ArrayPrototypePush(urls, url);
    const answer = await send(inner, url, hop);
    const location = redirectTarget(answer, url);
    if (location === null || inner.redirectMode === "manual") {
      return toResponse(inner, answer, urls);
    }
    core.tryClose(answer.body);
    if (inner.redirectMode === "error") {
      throw new TypeError(`Redirected to ${location.href}, and the request's redirect mode is "error"`);
    }
    if (urls.length > MOST_REDIRECTS) {
      throw new TypeError(`Too many redirects: ${MOST_REDIRECTS} were followed, from ${urls[0]}`);
    }
    redirect(inner, answer.status, new URL(url), location);
  }
}

/** Where a response redirects to, or null. */
function redirectTarget(answer, url) {
  switch (answer.status) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
      break;
    default:
      return null;
  }
  const location = headerValue(answer.headers, "location");
  if (location === undefined) return null;
  const target = new URL(location, url);
  if (target.protocol !== "http:" && target.protocol !== "https:") {
    throw new TypeError(`Cannot follow a redirect to "${target.protocol}": only http and https can be fetched`);
  }
  if (target.hash === "") target.hash = new URL(url).hash;
  return target;
}

/** Makes a request ready for its next hop. https://fetch.spec.whatwg.org/#concept-http-redirect-fetch */
function redirect(inner, status, from, to) {
  if (status !== 303 && inner.body !== null && inner.body.source === null) {
    throw new TypeError("Cannot follow a redirect: the request's body is a stream, which was sent already. Use a buffered body, or redirect: \"manual\".");
  }
  const method = inner.method;
  if (((status === 301 || status === 302) && method === "POST") || (status === 303 && method !== "GET" && method !== "HEAD")) {
    inner.method = "GET";
    inner.body = null;
    inner.headerList = withoutHeaders(inner.headerList, BODY_HEADERS);
  }
  if (from.origin !== to.origin && isOn("strip_authorization_on_cross_origin_redirect")) {
    inner.headerList = withoutHeaders(inner.headerList, CREDENTIAL_HEADERS);
  }
  if (inner.body !== null) inner.body = extractBody(inner.body.source).body;
  ArrayPrototypePush(inner.urlList, () => to.href);
}

/** One hop: the op's answer `{ status, statusText, headers, body, decoded, webSocket }`. */
async function send(inner, url, hop) {
  if (hop.start === overNetwork) {
    if (inner.blobUrlEntry !== null) return blobAnswer(blobFromObjectUrl(url) ?? inner.blobUrlEntry);
    if (StringPrototypeStartsWith(url, "data:")) return dataAnswer(url);
  }
  const headers = [];
  for (const header of new SafeArrayIterator(inner.headerList)) {
    ArrayPrototypePush(headers, header[0], header[1]);
  }
  const { data, rid } = outgoingBody(inner.body);
  const started = hop.start(hop.request, inner.method, url, headers, data, rid);
  hop.cancelRid = started.cancel;
  try {
    return await ops.op_fetch_finish(started.request);
  } finally {
    core.tryClose(started.cancel);
  }
}

/** A body as bytes in hand, or as a resource that streams. */
function outgoingBody(body) {
  if (body === null) return { data: null, rid: 0 };
  const source = body.streamOrStatic;
  if (!ObjectPrototypeIsPrototypeOf(streams.ReadableStreamPrototype, source)) {
    if (source.consumed) throw new TypeError("The request's body was used already: clone the request before it is read");
    const data = typeof source.body === "string" ? core.encode(source.body) : source.body;
    if (TypedArrayPrototypeGetSymbolToStringTag(data) !== "Uint8Array") throw new TypeError("Invalid body");
    source.consumed = true;
    return { data, rid: 0 };
  }
  const rid = streams.resourceForReadableStream(source, body.length ?? knownLength(source));
  return { data: null, rid };
}

function blobAnswer(blob) {
  return {
    status: 200,
    statusText: "OK",
    headers: ["content-length", `${blob.size}`, "content-type", blob.type],
    stream: blob.stream(),
    body: 0,
    decoded: false,
    webSocket: 0,
  };
}

function dataAnswer(url) {
  const { mimeType, bytes } = ops.op_data_url(url);
  return {
    status: 200,
    statusText: "OK",
    headers: ["content-type", mimeType],
    stream: { body: bytes, consumed: false },
    body: 0,
    decoded: false,
    webSocket: 0,
  };
}

function headerValue(headers, name) {
  for (let index = 0; index < headers.length; index += 2) {
    if (StringPrototypeToLowerCase(headers[index]) === name) return headers[index + 1];
  }
  return undefined;
}

function toResponse(inner, answer, urls) {
  const response = denoResponse.fromInnerResponse(toInner(inner, answer, urls), "immutable");
  if (answer.webSocket !== 0) response[_webSocket] = webSocketFromHost(answer.webSocket);
  return response;
}

function toInner(inner, answer, urls) {
  const headerList = [];
  for (let index = 0; index < answer.headers.length; index += 2) {
    ArrayPrototypePush(headerList, [answer.headers[index], answer.headers[index + 1]]);
  }
  const innerResponse = {
    type: "basic",
    body: null,
    headerList,
    urlList: urls,
    status: answer.status,
    statusMessage: answer.statusText,
    aborted: false,
    bodyDecoded: answer.decoded,
    url() {
      return urls[urls.length - 1];
    },
  };
  if (answer.stream !== undefined) {
    innerResponse.body = new InnerBody(answer.stream);
  } else if (denoResponse.nullBodyStatus(answer.status) || inner.method === "HEAD") {
    core.tryClose(answer.body);
  } else {
    innerResponse.body = new InnerBody(streams.readableStreamForRid(answer.body));
  }
  return innerResponse;
}

export { fetch, fetchThrough };
