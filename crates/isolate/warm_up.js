// What nearly every Worker does, done once before the snapshot is made: see build.rs. (No request of a request: V8 cannot put what that
// compiles into a snapshot.)

(({ prepare, start, loaded, forget, dispatcher }) => {
  const answer = (request) => {
    const url = new URL(request.url);
    const name = url.searchParams.get("name");
    if (request.method === "GET" && url.pathname === "/path") console.log("hello", name, { name }, request.headers);
    const headers = new Headers({ "content-type": "application/json" });
    headers.set("x-name", `${request.headers.get("accept")}`);
    for (const [key, value] of request.headers) headers.append(key, value);
    const text = new TextDecoder().decode(new TextEncoder().encode(JSON.stringify({ name })));
    new Request("http://localhost/", { method: "POST", body: text });
    new Response(text, { status: 201, headers });
    new Response(null, { status: 204 });
    new Response("text");
    return Response.json({ message: "hi" });
  };
  prepare(false, true);
  start({
    worker: "hello",
    bindings: [{ name: "VALUE", kind: "value", value: "text" }],
    flags: ["enable_navigator_language", "enable_weak_ref", "expose_global_message_channel", "global_navigator"],
    colors: false,
    serviceWorker: false,
  });
  loaded({ default: { fetch: async (request) => answer(request) } });
  dispatcher.fetch(1, "", "GET", 0, "");
  loaded({ default: { fetch: (request) => (answer(request), new Response("text", { headers: { "x-name": "value" } })) } });
  dispatcher.fetch(2, "", "GET", 0, "");
  forget();
})(globalThis.__skep);
